/* Inline join: scheduler/inline_join.cpp, shard::take_unstarted(), claim_fresh() and what shards do with the entries of
 * fresh_ (scheduler/shard.cpp). One child that nobody has started; its parent on shard 0, in whose deque it is; a thief
 * on shard 1; on shard 2 another task that waits for the same child, and must not run it: only at home may the entry be
 * taken back without an atomic operation.
 *
 * What is modelled: the flag `taken`; the entry, which the parent can take out only where it is the newest or the oldest
 * (is_newest), and which stays behind otherwise, is stolen, moved to the thief's deque, and comes up there or at home;
 * references: the runtime's, those of the two handles, and the one that a stale entry has.
 *
 * Left out: the deque's own races (deque.pml: an entry is taken once); how who waits is told (future.pml) and how a
 * cancel of the parent goes on to the child (cancel_on_its_way.pml); stacks, turns. Delayed stores: the flag is
 * exchanged, references are read-modify-writes.
 *
 * Checked: the child runs once, in the end; who comes upon an entry finds the block alive, and of the same task; nobody
 * waits for ever (an invalid end state); the block is given back, once.
 *
 * Each of these, defined, breaks it and must be refuted:
 *   INLINE_IN_TWO_STEPS             the parent looks at the flag, then stores it (planted)
 *   STALE_ENTRY_WITHOUT_REFERENCE   an entry that stays behind has no reference (planted)
 *   ENTRY_NOT_CLAIMED               who steals an entry runs it without asking the flag
 *   REFERENCE_KEPT                  who finds the child taken does not drop the entry's reference
 *   OTHERS_RUN_IT_TOO               who waits for it on another shard may run it inline
 */
#define AT_HOME 1 /* where the entry is: in the deque of shard 0, of shard 1, or in somebody's hand */
#define AT_THIEF 2
#define IN_HAND 3
#define GONE 4

byte entry = AT_HOME;
bool is_newest;  /* in the deque of shard 0 */
bool taken;
byte references = 3;
byte runs;
bool is_done;

inline add_reference() {
  atomic {
    assert(references != 0);
    references++
  }
}

inline release() {
  atomic {
    assert(references != 0);
    references--
  }
}

/* task_base::run() to leave() */
inline run_it() {
  atomic {
    assert(references != 0);
    runs++;
    assert(runs == 1)
  }
  is_done = true;
  release() /* the runtime's */
}

/* taken.exchange(true) */
inline exchange(was_taken) {
  atomic {
    assert(references != 0);
    was_taken = taken;
    taken = true
  }
}

/* claim_fresh() of an entry that was taken off a deque */
inline claim_fresh(mine) {
#ifdef ENTRY_NOT_CLAIMED
  mine = true;
  taken = true;
#else
  exchange(mine);
  mine = !mine;
#endif
  entry = GONE;
  if
  :: mine
  :: !mine ->
#ifndef REFERENCE_KEPT
    release()
#else
    skip
#endif
  fi
}

/* The lower half of shard::take_unstarted(): the entry stays where it is. */
inline take_and_leave_entry(mine) {
#ifndef STALE_ENTRY_WITHOUT_REFERENCE
  add_reference();
#endif
#ifdef INLINE_IN_TWO_STEPS
  mine = !taken;
  taken = true;
#else
  exchange(mine);
  mine = !mine;
#endif
  if
  :: mine
  :: !mine ->
#ifndef STALE_ENTRY_WITHOUT_REFERENCE
    release()
#else
    skip
#endif
  fi
}

/* Shard 0: the parent, up to where it waits; then the loop, to which the entry comes up. */
proctype home() {
  bool mine, is_taken;
  if
  :: is_newest = true
  :: is_newest = false
  fi;
  /* join_inline() */
  is_taken = taken; /* relaxed */
  if
  :: is_taken
  :: !is_taken ->
    if
    :: atomic { is_newest && entry == AT_HOME -> entry = IN_HAND } /* pop() */
      is_taken = taken;
      entry = GONE;
      if
      :: is_taken -> release()
      :: !is_taken ->
        taken = true;
        mine = true
      fi
    :: else -> take_and_leave_entry(mine)
    fi;
    if
    :: mine -> run_it()
    :: else
    fi
  fi;
  run rest_of_parent();
  do
  :: atomic { entry == AT_HOME -> entry = IN_HAND }
    claim_fresh(mine);
    if
    :: mine -> run_it()
    :: else
    fi
  :: entry == GONE -> break
  od
}

proctype rest_of_parent() {
  is_done;
  release() /* its handle */
}

/* Shard 1: takes it at once, or puts it into its own deque, as the second of what it stole. */
proctype thief() {
  bool mine;
  do
  :: atomic { entry == AT_HOME -> entry = IN_HAND }
    if
    :: claim_fresh(mine);
      if
      :: mine -> run_it()
      :: else
      fi
    :: entry = AT_THIEF
    fi
  :: atomic { entry == AT_THIEF -> entry = IN_HAND }
    claim_fresh(mine);
    if
    :: mine -> run_it()
    :: else
    fi
  :: entry == GONE -> break
  od
}

/* Shard 2: waits for it too. The entry is in no deque of its own. */
proctype other() {
#ifdef OTHERS_RUN_IT_TOO
  bool mine, is_taken;
  is_taken = taken;
  if
  :: is_taken
  :: !is_taken ->
    take_and_leave_entry(mine);
    if
    :: mine -> run_it()
    :: else
    fi
  fi;
#endif
  is_done;
  release() /* its handle */
}

init {
  atomic {
    run home();
    run thief();
    run other()
  }
  _nr_pr == 1;
  assert(runs == 1 && references == 0 && entry == GONE)
}
