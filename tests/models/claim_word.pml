/* The claim word: roving/detail/claim_word.hpp, with arm(), commit(), settle() and park_until() of scheduler/wait.cpp.
 * One task that waits twice; an event for each wait; a timer for each that has a limit; somebody who cancels twice; the
 * shard that the task has left.
 *
 * What is modelled: the two ways to park (armed under the lock of what is waited for, or opened, then committed), waits
 * that a cancel can claim and those that it can't; each operation on the word, which is one compare-exchange that
 * succeeds, is one step. `departing` is the shard that goes on after the task's stack is left: what it does comes after
 * that, and the task may run elsewhere meanwhile, as soon as `entering` has taken it. A timer may be late for as long
 * as it likes, which is more than the code's own timers may: the epoch alone has to see to it.
 *
 * Left out: waits that pass a cancel on, and pins (cancel_on_its_way.pml); uncancel(); the messages of cancels; how a
 * task gets from ready to running (`ready` may be taken by any shard). Delayed stores: every change of the word is a
 * read-modify-write.
 *
 * Checked: the task is made ready once a wait, and never entered while its stack is in use; a wait ends by its own
 * event or timer; what was granted is known to the task; each cancel that was taken is thrown, and two before the throw
 * are one; no wake-up is lost (invalid end states).
 *
 * Each of these, defined, breaks it and must be refuted:
 *   CLAIM_IN_TWO_STEPS           claim() looks, then stores (planted)
 *   UNLOCK_BEFORE_LEAVING        the lock is released before the task is armed (planted)
 *   READY_BEFORE_LEAVING         the task is armed before it has left its stack (planted)
 *   SECOND_CANCEL_THROWN_TWICE   a cancel that comes before the first is thrown stays (planted)
 *   EPOCH_IGNORED                claim() does not look at the epoch
 *   EARLY_MADE_READY             a waiter that was claimed before it has parked is made ready all the same
 *   PENDING_IGNORED              a wait begins though a cancel is pending
 */
#define WAITS 2
#define CANCELS 2

#define RUNNING 0
#define PARKED 1
#define PREPARING 2
#define EVENT 1
#define TIMEOUT 2
#define CANCEL 3

/* The word. */
byte phase;
byte winner;
byte epoch;
bool pending;
bool masked;

bool stack_in_use = true;
bool ready;
bool asked;       /* a cancel was taken and not thrown yet */
bool done;        /* guarded by task_lock */
bool task_lock;
bool has_limit;   /* of the wait that goes on */

bool list_lock;   /* of what is waited for; guards: */
byte listed;      /* in which wait; each has a list of its own */
bool granted;
byte listed_epoch;
bool happened[WAITS + 1];

mtype = {arm, commit, end_by_mark};
chan departure = [0] of {mtype, bool};
chan entered = [0] of {bool};

inline lock(which) { atomic { !which -> which = true } }
inline unlock(which) { which = false }

inline make_ready() {
  atomic {
    assert(!ready);
    ready = true
  }
}

/* basic_claim_word::claim(). `won` unless it was lost, `early` when the waiter has not parked. */
inline claim(which, who, won, early) {
#ifdef CLAIM_IN_TWO_STEPS
  atomic {
    won = (epoch == which && phase != RUNNING);
    early = (phase == PREPARING);
    was_pending = pending
  }
  if
  :: won -> atomic { phase = RUNNING; masked = false; winner = who; pending = was_pending; epoch = which }
  :: else
  fi
#else
  atomic {
#ifdef EPOCH_IGNORED
    won = (phase != RUNNING);
#else
    won = (epoch == which && phase != RUNNING);
#endif
    early = (phase == PREPARING);
    if
    :: won -> phase = RUNNING; masked = false; winner = who
    :: else
    fi
  }
#endif
#ifdef EARLY_MADE_READY
  early = false
#endif
}

/* begin(): arm() and prepare(). */
inline begin(as, is_masked, refused) {
  atomic {
#ifndef PENDING_IGNORED
    refused = (pending && !is_masked);
#endif
    if
    :: refused
    :: else -> epoch++; phase = as; masked = is_masked; winner = 0
    fi;
    assert(phase == RUNNING || masked || !pending) /* it would wait on, and perhaps for ever */
  }
}

inline take_pending(was_there) {
  atomic {
    was_there = pending;
    pending = false;
    if
    :: was_there -> asked = false
    :: else
    fi
  }
}

/* On the shard that the task has left, once its stack is free. */
active proctype departing() {
  bool is_masked, refused, is_open;
end:
  do
  :: departure ? arm(is_masked) ->
    begin(PARKED, is_masked, refused);
#ifndef UNLOCK_BEFORE_LEAVING
    unlock(list_lock);
#endif
    if
    :: refused -> goto marked
    :: else
    fi
  :: departure ? commit(_) ->
    atomic {
      is_open = (phase == PREPARING);
      if
      :: is_open -> phase = PARKED
      :: else
      fi
    }
    if
    :: !is_open -> make_ready() /* claimed on the way */
    :: else
    fi
  :: departure ? end_by_mark(_) ->
marked:
    /* The throw is still to come: asked stays. */
    atomic { epoch++; phase = RUNNING; masked = false; pending = false; winner = CANCEL }
    make_ready()
  od
}

/* A timer of one wait, on whatever shard. */
proctype timer(byte wait_epoch) {
  bool won, early, was_pending;
  claim(wait_epoch, TIMEOUT, won, early);
  if
  :: won && !early -> make_ready()
  :: else
  fi
}

/* Whoever makes true what is waited for. */
active proctype giver() {
  byte wait = 1;
  bool won, early, was_pending;
  do
  :: wait <= WAITS ->
    lock(list_lock);
    happened[wait] = true;
    won = false;
    if
    :: listed == wait && !granted -> /* grant() */
      granted = true;
      claim(listed_epoch, EVENT, won, early);
      if
      :: !won -> granted = false
      :: else
      fi
    :: else
    fi;
    unlock(list_lock);
    if
    :: won && !early -> make_ready()
    :: else
    fi;
    wait++
  :: else -> break
  od
}

/* cancel_through() for a task that passes nothing on. */
active proctype canceller() {
  byte left = CANCELS;
  bool must_wake;
  do
  :: left > 0 ->
    lock(task_lock);
    if
    :: done
    :: else ->
      atomic { /* basic_claim_word::cancel() */
        asked = true;
        if
        :: phase != RUNNING && !masked ->
          must_wake = (phase == PARKED);
          phase = RUNNING;
          winner = CANCEL
        :: else -> pending = true
        fi
      }
    fi;
    unlock(task_lock);
    if
    :: must_wake -> make_ready()
    :: else
    fi;
    must_wake = false;
    left--
  :: else -> break
  od
}

inline leave(what, is_masked) {
  stack_in_use = false;
  departure ! what(is_masked);
  entered ? true
}

/* The shard that takes the task from its queue. */
active proctype entering() {
end:
  do
  :: atomic {
      ready -> ready = false;
      assert(!stack_in_use);
      stack_in_use = true
    }
    entered ! true
  od
}

active proctype task() {
  byte wait = 1;
  bool is_masked, refused, was_there;
  do
  :: wait <= WAITS ->
    if
    :: is_masked = true /* in no_cancel */
    :: is_masked = false
    fi;
    lock(list_lock);
    if
    :: happened[wait] -> unlock(list_lock)
    :: else ->
      atomic { listed = wait; granted = false; listed_epoch = epoch + 1 }
      if
      :: has_limit = false; /* park() */
#if defined(READY_BEFORE_LEAVING)
        begin(PARKED, is_masked, refused);
        unlock(list_lock);
        if
        :: refused -> leave(end_by_mark, false)
        :: else -> stack_in_use = false; entered ? true
        fi;
#else
#if defined(UNLOCK_BEFORE_LEAVING)
        unlock(list_lock);
#endif
        leave(arm, is_masked)
#endif
      :: has_limit = true; /* park_until() */
        begin(PREPARING, is_masked, refused);
        unlock(list_lock);
        if
        :: refused -> leave(end_by_mark, false)
        :: else ->
          run timer(epoch);
          leave(commit, false)
        fi
      fi;
      refused = false;
      /* settle(); nobody else changes winner any more */
      assert(phase == RUNNING);
      assert(winner != TIMEOUT || has_limit);
      assert(winner != EVENT || (granted && happened[wait]));
      if
      :: winner == CANCEL ->
        assert(asked && !is_masked);
#ifdef SECOND_CANCEL_THROWN_TWICE
        asked = false
#else
        atomic { pending = false; asked = false }
#endif
      :: winner != CANCEL && !is_masked -> take_pending(was_there)
      :: else
      fi;
      lock(list_lock);
      assert(!granted || winner == EVENT);
      listed = 0;
      unlock(list_lock)
    fi;
    was_there = false;
    wait++
  :: else -> break
  od;
  /* end_with_value() */
  lock(task_lock);
  atomic {
    done = true;
    assert(pending == asked);
    pending = false
  }
  unlock(task_lock)
}
