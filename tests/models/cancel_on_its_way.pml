/* A cancel that is passed on from task to task: docs/decisions/0004, cancel_through() and ask() of
 * scheduler/task_base.cpp, park_forwarding(), arm_forwarding() and pass_on_mark() of scheduler/wait.cpp, the pins of
 * roving/detail/claim_word.hpp. Task A awaits B, B awaits C, C waits for an event that may never come; A is cancelled
 * at any moment, and with TWO defined B as well. A thread for each task, and for each who cancels.
 *
 * What is modelled: the claim words with their pins; the spin lock that each task has as a future; await(), with what
 * is done after the task has left its stack (which a pending mark makes a cancel of its own, `passing_on`, while the
 * task may be woken already); asking, marking and unpinning, task by task; the end of a task, which looks for a mark
 * once more under its lock; counted references.
 *
 * Left out: circles, and what passes a cancel on to several; messages; masked waits (claim_word.pml); a child that is
 * run inline (its parent is not woken: it is the simpler case). Delayed stores: what is read under a pin is written
 * before the word is armed, all changes of the word are read-modify-writes.
 *
 * Checked: a cancel that was taken ends its task as cancelled; one that was not finds it done; a cancel ends
 * everything, also when the event never comes (else an invalid end state); nobody touches a task that is gone, and all
 * go.
 *
 * Each of these, defined, breaks it and must be refuted:
 *   PINS_NOT_AWAITED       a task that comes back does not wait until no canceller reads what it awaited (planted)
 *   CANCEL_NOT_PASSED_ON   a mark that was there before the wait stays with the task (planted)
 *   REFUSAL_NOT_MARKED     what is awaited was done, and nobody is marked
 *   MARKED_AFTER_UNPIN     the asker is unpinned, then marked
 *   END_WITHOUT_LOOK       a task that ends looks for a mark before it takes its lock only
 */
#define TASKS 3
#define A 0
#define B 1
#define C 2
#define NOBODY 3

#define VALUE 1
#define CANCELLED 2

#define RUNNING 0
#define FORWARDS 1 /* parked, in one of two ways */
#define CLAIMABLE 2

byte phase[TASKS];
bool by_cancel[TASKS]; /* the winner of the wait, else the event */
bool pending[TASKS];
byte pins[TASKS];
bool ready[TASKS];

bool lock[TASKS];
byte status[TASKS];
bool listed[TASKS]; /* the one before it in the alphabet waits for it */
byte awaits[TASKS];
byte references[TASKS];

bool event;
bool was_taken[TASKS];

inline lock_it(which) { atomic { assert(references[which] != 0); !lock[which] -> lock[which] = true } }
inline unlock_it(which) { atomic { assert(references[which] != 0); lock[which] = false } }

inline add_reference(which) {
  atomic {
    assert(references[which] != 0);
    references[which]++
  }
}

inline release(which) {
  atomic {
    assert(references[which] != 0);
    references[which]--
  }
}

inline make_ready(which) {
  atomic {
    assert(references[which] != 0 && !ready[which]);
    ready[which] = true
  }
}

inline unpin(which) { atomic { assert(references[which] != 0 && pins[which] != 0); pins[which]-- } }

inline mark(which) {
  lock_it(which);
  pending[which] = true;
  unlock_it(which)
}

/* cancel_through(): whose reference to `root` is held. */
inline cancel_through(root, root_taken) {
  asked = root;
  asker = NOBODY;
  add_reference(asked);
  do
  ::
    /* ask() */
    lock_it(asked);
    atomic { taken = (status[asked] == 0); awaited = NOBODY; wake = false }
    if
    :: taken ->
      atomic { /* basic_claim_word::cancel() */
        if
        :: phase[asked] == FORWARDS -> pins[asked]++; awaited = awaits[asked]
        :: phase[asked] == CLAIMABLE -> phase[asked] = RUNNING; by_cancel[asked] = true; wake = true
        :: phase[asked] == RUNNING -> pending[asked] = true
        fi
      }
      if
      :: awaited != NOBODY -> atomic { awaited = awaits[asked]; assert(awaited != NOBODY) } add_reference(awaited)
      :: else
      fi
    :: else
    fi;
    unlock_it(asked);
    if
    :: wake -> make_ready(asked)
    :: else
    fi;
    /* the answer */
    if
    :: asker == NOBODY -> root_taken = taken
    :: asker != NOBODY ->
#ifdef MARKED_AFTER_UNPIN
      unpin(asker);
#endif
#ifndef REFUSAL_NOT_MARKED
      if
      :: !taken -> mark(asker)
      :: else
      fi;
#endif
#ifndef MARKED_AFTER_UNPIN
      unpin(asker);
#endif
      release(asker)
    fi;
    if
    :: awaited != NOBODY -> atomic { asker = asked; asked = awaited }
    :: else -> break
    fi
  od;
  release(asked);
  atomic { asked = 0; asker = 0; awaited = 0; taken = false; wake = false }
}

/* The rest of arm_forwarding() for a task that was marked before: pass_on_mark(). */
proctype passing_on(byte me; byte child) {
  byte asked, asker, awaited;
  bool taken, wake, was_there, root_taken;
  atomic { was_there = pending[me]; pending[me] = false }
  if
  :: was_there ->
    cancel_through(child, root_taken);
    if
    :: !root_taken -> pending[me] = true
    :: else
    fi
  :: else
  fi;
  unpin(me);
  release(child);
  release(me)
}

/* publish(): tells who waits, under the lock */
inline finish(how) {
  atomic { assert(status[me] == 0); status[me] = how }
  wake_parent = false;
  if
  :: listed[me] ->
    listed[me] = false;
    atomic { /* grant() */
      assert(references[me - 1] != 0);
      wake_parent = (phase[me - 1] != RUNNING);
      if
      :: wake_parent -> phase[me - 1] = RUNNING; by_cancel[me - 1] = false
      :: else
      fi
    }
  :: else
  fi;
  unlock_it(me);
  if
  :: wake_parent -> make_ready(me - 1)
  :: else
  fi
}

/* task_base::run() after the body, end_with_value(), end(), leave() */
inline end() {
  if
  :: !is_cancelled && pending[me] -> is_cancelled = true
  :: else
  fi;
  lock_it(me);
#ifndef END_WITHOUT_LOOK
  if
  :: !is_cancelled && pending[me] -> is_cancelled = true
  :: else
  fi;
#endif
  finish(1 + is_cancelled);
  release(me)
}

/* settle() */
inline settle() {
#ifndef PINS_NOT_AWAITED
  pins[me] == 0;
#endif
  atomic {
    is_cancelled = (by_cancel[me] || pending[me]);
    pending[me] = false;
    by_cancel[me] = false
  }
}

/* A and B: future_base::await() */
proctype parent(byte me) {
  bool is_cancelled, wake_parent, is_marked;
  byte child = me + 1;
  lock_it(child);
  if
  :: status[child] != 0 -> unlock_it(child)
  :: else ->
    atomic { listed[child] = true; awaits[me] = child }
    /* arm_forwarding(), once the stack is left; the lock of the child is still held */
    phase[me] = FORWARDS;
    is_marked = pending[me];
#ifdef CANCEL_NOT_PASSED_ON
    is_marked = false;
#endif
    if
    :: is_marked ->
      add_reference(me);
      add_reference(child);
      pins[me]++;
      unlock_it(child);
      run passing_on(me, child)
    :: else -> unlock_it(child)
    fi;
    is_marked = false;
    atomic { ready[me] -> ready[me] = false }
    settle();
    awaits[me] = NOBODY
  fi;
  assert(status[child] != 0);
  is_cancelled = is_cancelled || (status[child] == CANCELLED); /* throw_failure() */
  release(child); /* its handle */
  end()
}

/* C: waits for an event, as in park() */
proctype waiting() {
  byte me = C;
  bool is_cancelled, wake_parent;
  if
  :: atomic { event -> skip }
  :: atomic { !event && pending[me] -> pending[me] = false; is_cancelled = true } /* end_by_mark() */
  :: atomic { !event && !pending[me] -> phase[me] = CLAIMABLE }
    atomic { ready[me] -> ready[me] = false }
    settle()
  fi;
  end()
}

proctype giver() {
  bool wake;
  if
  :: atomic {
      event = true;
      wake = (phase[C] == CLAIMABLE);
      if
      :: wake -> phase[C] = RUNNING
      :: else
      fi
    }
    if
    :: wake -> make_ready(C)
    :: else
    fi
  :: skip
  fi
}

proctype canceller(byte whom) {
  byte asked, asker, awaited;
  bool taken, wake;
  cancel_through(whom, was_taken[whom]);
  assert(was_taken[whom] || status[whom] != 0);
  release(whom) /* its handle */
}

init {
  atomic {
    references[A] = 2;
    references[B] = 2;
    references[C] = 2;
    awaits[A] = NOBODY;
    awaits[B] = NOBODY;
    awaits[C] = NOBODY;
    run parent(A);
    run parent(B);
    run waiting();
    run giver();
#ifdef TWO
    references[B]++;
    run canceller(B);
#endif
    run canceller(A)
  }
  _nr_pr == 1;
  assert(!was_taken[A] || status[A] == CANCELLED);
  assert(!was_taken[B] || status[B] == CANCELLED);
  assert(references[A] == 0 && references[B] == 0 && references[C] == 0)
}
