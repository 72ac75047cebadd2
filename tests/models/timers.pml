/* Timers of roving tasks: shard::set_timer(), cancel_timer() and expire_roving_timers() (scheduler/shard.cpp) around
 * the wheel and its batches (scheduler/timers.cpp). Shard 1 has the timers of two tasks; shard 2 services it when it is
 * stuck; events come from anywhere, and the tasks go on anywhere.
 *
 * What is modelled: the lock of the timers; a wheel that gives a batch in order of deadline, from which one can still
 * be taken out; timers that lie on the stacks of their tasks and are claimed under the lock; a clock that goes on at
 * any moment; the owner that takes turns, sleeps until the next deadline, or is stuck for ever.
 *
 * Left out: the slots of the wheel (tests/scheduler/timers_test.cpp); epochs (claim_word.pml). A servicer looks again
 * and again; here only when there is something to find, since the rest changes nothing. Delayed stores:
 * has_roving_timers_ may be seen late by a servicer, which looks again; all else is under the lock.
 *
 * Checked: no timer is early; those of a batch end their waits in order; nobody touches a timer whose task has gone on;
 * each task is made ready once; each wait ends at its deadline at the latest (else an invalid end state).
 *
 * Each of these, defined, breaks it and must be refuted:
 *   TIMERS_EARLY             what is due soon counts as due (planted)
 *   CLAIMED_OUTSIDE_LOCK     waiters are claimed after the lock is released
 *   CANCELLED_WITHOUT_LOCK   cancel_timer() does not take the lock
 *   NOT_CANCELLED            who was woken by an event leaves its timer where it is
 *   SLEEPS_PAST_TIMERS       next_deadline() does not look at these timers
 *   NOT_SERVICED             shard 2 leaves the timers of a stuck shard alone
 */
#define TASKS 2
#define LAST 2 /* the clock stops there */
#define FOREVER 9

#define NONE 0 /* where a timer is */
#define WHEEL 1
#define BATCH 2

#define RUNNING 0
#define PARKED 1
#define PREPARING 2
#define EVENT 1
#define TIMEOUT 2

byte now;
bool lock; /* timers_lock_ */
byte place[TASKS];
byte deadline[TASKS];
bool has_timers;

bool is_alive[TASKS]; /* the timer, on its task's stack */
byte phase[TASKS];
byte winner[TASKS];
bool ready[TASKS];
bool stuck;

inline lock_timers() { atomic { !lock -> lock = true } }
inline unlock_timers() { lock = false }

inline make_ready(which) {
  atomic {
    assert(!ready[which]);
    ready[which] = true
  }
}

inline claim(which, who, won) {
  atomic {
    won = (phase[which] == PARKED);
    if
    :: phase[which] != RUNNING -> phase[which] = RUNNING; winner[which] = who
    :: else
    fi
  }
}

/* shard::expire_roving_timers(), by the owner or by who services it */
inline expire() {
  until = now;
#ifdef TIMERS_EARLY
  until++;
#endif
  lock_timers();
  d_step { /* timer_wheel::expire(), under the lock: its batch in order */
    i = 0;
    do
    :: i < TASKS ->
      if
      :: place[i] == WHEEL && deadline[i] <= until -> place[i] = BATCH
      :: else
      fi;
      i++
    :: else -> break
    od;
    i = 0
  }
#ifdef CLAIMED_OUTSIDE_LOCK
  unlock_timers();
#endif
  do
  ::
    atomic { /* timer_batch::pop() */
      due = TASKS;
      if
      :: place[0] == BATCH && (place[1] != BATCH || deadline[0] <= deadline[1]) -> due = 0
      :: place[1] == BATCH && (place[0] != BATCH || deadline[1] < deadline[0]) -> due = 1
      :: else -> break
      fi;
      assert(is_alive[due]);
      place[due] = NONE
    }
    atomic {
      assert(is_alive[due]);
      assert(deadline[due] <= now);
      assert(place[1 - due] != BATCH || deadline[due] <= deadline[1 - due]);
      claim(due, TIMEOUT, wakes[due])
    }
  od;
  has_timers = (place[0] == WHEEL || place[1] == WHEEL);
#ifndef CLAIMED_OUTSIDE_LOCK
  unlock_timers();
#endif
  due = 0;
  until = 0;
  if
  :: wakes[0] -> wakes[0] = false; make_ready(0)
  :: else
  fi;
  if
  :: wakes[1] -> wakes[1] = false; make_ready(1)
  :: else
  fi
}

active proctype clock() {
  do
  :: now < LAST -> now++
  :: else -> break
  od
}

/* Shard 1. It runs the tasks up to where they park, park_open(); then its loop. */
active proctype owner() {
  byte i, until, due, seen;
  bool is_open;
  bool wakes[TASKS];
  byte next = 0;
  do
  :: next < TASKS ->
    atomic { is_alive[next] = true; phase[next] = PREPARING }
    run event(next);
    lock_timers();
    if
    :: deadline[next] = 1
    :: next == 0 -> deadline[next] = 2
    fi;
    place[next] = WHEEL;
    has_timers = true;
    unlock_timers();
    atomic { /* commit() */
      is_open = (phase[next] == PREPARING);
      if
      :: is_open -> phase[next] = PARKED
      :: else
      fi
    }
    if
    :: !is_open -> make_ready(next)
    :: else
    fi;
    run rest_of_task(next);
    next++
  :: else -> break
  od;
  do
  :: stuck = true; goto over /* in a slice that never ends */
  ::
    if
    :: has_timers -> expire()
    :: else
    fi;
    /* next_deadline(), parker::wait() */
    seen = FOREVER;
#ifndef SLEEPS_PAST_TIMERS
    if
    :: has_timers ->
      lock_timers();
      d_step {
        if
        :: place[0] == WHEEL -> seen = deadline[0]
        :: else
        fi;
        if
        :: place[1] == WHEEL && deadline[1] < seen -> seen = deadline[1]
        :: else
        fi
      }
      unlock_timers()
    :: else
    fi;
#endif
    if
    :: seen == FOREVER -> break /* nothing here wakes it again */
    :: seen != FOREVER -> now >= seen
    fi
  od;
over:
  skip
}

/* Where an event ends the wait, if one comes. */
proctype event(byte which) {
  bool won;
  if
  :: claim(which, EVENT, won);
    if
    :: won -> make_ready(which)
    :: else
    fi
  :: skip
  fi
}

/* Woken, on whatever shard: cancel_timer(), and its stack goes on. */
proctype rest_of_task(byte which) {
  atomic { ready[which] -> ready[which] = false }
  assert(phase[which] == RUNNING);
  assert(winner[which] != TIMEOUT || now >= deadline[which]);
#ifndef NOT_CANCELLED
#ifndef CANCELLED_WITHOUT_LOCK
  lock_timers();
#endif
  place[which] = NONE;
#ifndef CANCELLED_WITHOUT_LOCK
  unlock_timers();
#endif
#endif
  is_alive[which] = false
}

/* Shard 2, when its watch shows that shard 1 is stuck: shard::service(). Once it is wrong about that. */
active proctype servicer() {
  byte i, until, due;
  bool wakes[TASKS];
  byte mistakes = 1;
end:
  do
  :: mistakes != 0 && has_timers -> mistakes--; expire()
#ifndef NOT_SERVICED
  :: stuck && has_timers &&
    ((place[0] == WHEEL && deadline[0] <= now) || (place[1] == WHEEL && deadline[1] <= now)) -> expire()
#endif
  :: false
  od
}
