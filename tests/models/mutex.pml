/* The mutex: sync/mutex.cpp and roving/mutex.hpp, function by function. Three tasks on three shards, and somebody who
 * cancels two of them at any moment.
 *
 * What is modelled: the word with `held` and `queued`, the spin lock, the list; lock(), with and without contention,
 * try_lock(), unlock(); a waiter that is woken and finds that it was passed; one that is cancelled before it is woken,
 * after it, or before it parks. A task is armed once its stack is left, and the spin lock released after that.
 *
 * Left out: stacks and epochs (claim_word.pml): a waiter is on the list with its current wait only. Delayed stores: the
 * one plain store to the word is under the spin lock, with `queued` seen, and is followed by its release, in order.
 *
 * Checked: one holds it at a time; a lock() takes it only in its turn; try_lock() passes nobody twice; I1 whenever the
 * spin lock is free; a free mutex is not waited for (a lost hand-over is an invalid end state).
 *
 * Each of these, defined, breaks it and must be refuted:
 *   MUTEX_BARGING              lock() takes a free mutex though others wait (planted)
 *   MUTEX_CANCELLED_KEEPS_IT   who was woken and cancelled does not wake the next (planted)
 *   UNLOCK_BEFORE_LEAVING      the spin lock is released before the waiter is armed (planted)
 *   QUEUED_IN_TWO_STEPS        lock() stores `queued` where it should compare and exchange
 *   PASSED_AGAIN               try_lock() passes whom it has passed before
 *   GRANT_NOT_PASSED_ON        a waiter that is cancelled looks only whether it was granted, not whether it is free
 */
#define TASKS 3
#define held 1
#define queued 2

#define RUNNING 0
#define PARKED 1
#define EVENT 1
#define CANCEL 2

byte state;
bool spin;
chan waiters = [TASKS] of {byte};
bool granted[TASKS];
bool was_passed[TASKS];

/* Of each task's claim word. */
byte phase[TASKS];
byte winner[TASKS];
bool pending[TASKS];
bool ready[TASKS];

byte holders;

/* was_cancelled() of sync/waiters.hpp, for who is on the list */
#define is_cancelled(which) (!granted[which] && phase[which] == RUNNING)

inline lock_spin() { atomic { !spin -> spin = true } }

inline unlock_spin() {
  atomic {
    assert((state >= queued) == (len(waiters) != 0)); /* I1 */
    spin = false
  }
}

inline took_it() {
  atomic {
    holders++;
    assert(holders == 1)
  }
}

/* first_not_cancelled(): each look at a claim word is a step; TASKS: none */
inline find_first(first) {
  place = 0;
  first = TASKS;
  do
  :: place < len(waiters) && first == TASKS ->
    atomic { /* the list is read by rotation: nobody else touches it, the spin lock is ours */
      i = 0;
      do
      :: i < len(waiters) ->
        waiters ? who;
        waiters ! who;
        if
        :: i == place && !is_cancelled(who) -> first = who
        :: else
        fi;
        i++
      :: else -> i = 0; who = 0; break
      od
    }
    place++
  :: else -> place = 0; break
  od
}

/* grant() for the front waiter, if it has none */
inline wake_front() {
  wake = TASKS;
  if
  :: waiters ? [who] ->
    waiters ? <who>;
    if
    :: !granted[who] ->
      granted[who] = true;
      atomic {
        if
        :: phase[who] == PARKED -> phase[who] = RUNNING; winner[who] = EVENT; wake = who
        :: else -> granted[who] = false
        fi
      }
    :: else
    fi;
    who = 0
  :: empty(waiters)
  fi
}

inline make_ready() {
  if
  :: wake != TASKS -> atomic { assert(!ready[wake]); ready[wake] = true; wake = TASKS }
  :: else
  fi
}

/* park(): `cancelled` says how it ended */
inline park() {
#ifdef UNLOCK_BEFORE_LEAVING
  unlock_spin();
#endif
  atomic { /* arm(), once the stack is left */
    refused = pending[me];
    if
    :: refused -> pending[me] = false; winner[me] = CANCEL /* end_by_mark() */
    :: else -> phase[me] = PARKED
    fi
  }
#ifndef UNLOCK_BEFORE_LEAVING
  unlock_spin();
#endif
  if
  :: refused -> refused = false
  :: else -> atomic { ready[me] -> ready[me] = false }
  fi;
  atomic { /* settle() */
    cancelled = (winner[me] == CANCEL || pending[me]);
    pending[me] = false;
    winner[me] = 0
  }
}

inline lock_contended() {
  lock_spin();
  seen = state;
  do
  ::
    is_free = false;
    if
    :: (seen & held) == 0 ->
      find_first(first);
#ifdef MUTEX_BARGING
      is_free = true
#else
      is_free = (first == TASKS)
#endif
    :: else
    fi;
#ifdef QUEUED_IN_TWO_STEPS
    if
    :: !is_free -> atomic { state = seen | queued; waiters ! me; break }
    :: else
    fi;
#endif
    atomic {
      if
      :: state == seen ->
        state = seen | (is_free -> held : queued);
        if
        :: is_free ->
          assert(first == TASKS); /* nobody waits who was not cancelled */
          took_it()
        :: else -> waiters ! me /* push_back(): under the spin lock, nobody looks in between */
        fi;
        break
      :: else -> seen = state
      fi
    }
  od;
  seen = 0;
  first = 0;
  if
  :: is_free ->
    is_free = false;
    unlock_spin();
    has_it = true
  :: else ->
    was_passed[me] = false;
    granted[me] = false;
    do
    ::
      park();
      lock_spin();
      if
      :: !cancelled && (state & held) != 0 -> granted[me] = false /* was passed: wait_again() */
      :: else -> break
      fi
    od;
    if
    :: !cancelled ->
      find_first(first);
      atomic { assert(first == me); first = 0 }
      atomic {
        waiters ?? eval(me);
        state = held | (len(waiters) != 0 -> queued : 0);
        took_it()
      }
      unlock_spin();
      has_it = true
    :: else ->
      is_free = ((state & held) == 0);
#ifdef GRANT_NOT_PASSED_ON
      is_free = is_free && granted[me];
#endif
      atomic {
        waiters ?? eval(me);
        if
        :: empty(waiters) -> state = state & held
        :: nempty(waiters)
        fi
      }
#ifdef MUTEX_CANCELLED_KEEPS_IT
      is_free = false;
#endif
      if
      :: is_free -> wake_front()
      :: else
      fi;
      is_free = false;
      unlock_spin();
      make_ready();
      was_thrown = true
    fi;
    granted[me] = false
  fi
}

inline lock() {
  atomic { /* take_untouched() */
    if
    :: state == 0 -> state = held; has_it = true; took_it()
    :: else
    fi
  }
  if
  :: has_it
  :: else -> lock_contended()
  fi
}

inline try_lock() {
  atomic {
    if
    :: state == 0 -> state = held; has_it = true; took_it()
    :: else
    fi
  }
  if
  :: has_it
  :: !has_it && (state & held) != 0
  :: !has_it && (state & held) == 0 ->
    lock_spin();
    seen = state;
    do
    :: (seen & held) == 0 ->
      find_first(first);
      if
#ifndef PASSED_AGAIN
      :: first != TASKS && was_passed[first] -> break
#endif
      :: else
      fi;
      atomic {
        if
        :: state == seen -> state = seen | held; has_it = true; took_it()
        :: else -> seen = state
        fi
      }
      if
      :: has_it ->
        find_first(first);
        if
        :: first != TASKS -> atomic { assert(!was_passed[first]); was_passed[first] = true }
        :: else
        fi;
        break
      :: else
      fi
    :: else -> break
    od;
    seen = 0;
    first = 0;
    unlock_spin()
  fi
}

inline unlock() {
  atomic {
    holders--;
    has_it = false;
    is_free = (state == held);
    if
    :: is_free -> state = 0
    :: else
    fi
  }
  if
  :: is_free -> is_free = false
  :: else -> /* unlock_contended() */
    lock_spin();
    atomic { assert((state & held) != 0); state = state & ~held }
    wake_front();
    unlock_spin();
    make_ready()
  fi
}

proctype task(byte me; byte rounds; byte tries) {
  byte seen, first, place, i, who;
  byte wake = TASKS;
  bool is_free, has_it, cancelled, refused, was_thrown;
  do
  :: rounds > 0 && !was_thrown ->
    rounds--;
    lock();
    if
    :: has_it -> unlock()
    :: else
    fi
  :: tries > 0 && !was_thrown ->
    tries--;
    try_lock();
    if
    :: has_it -> unlock()
    :: else
    fi
  :: (rounds == 0 && tries == 0) || was_thrown -> break
  od
}

inline cancel(which) {
  atomic {
    if
    :: phase[which] == PARKED -> phase[which] = RUNNING; winner[which] = CANCEL; wake = which
    :: else -> pending[which] = true
    fi
  }
  make_ready()
}

proctype canceller() {
  byte wake = TASKS;
  cancel(0);
  cancel(1)
}

init {
  atomic {
    run task(0, 2, 0);
    run task(1, 1, 0);
    run task(2, 1, 2);
    run canceller()
  }
}
