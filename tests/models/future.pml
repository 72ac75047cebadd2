/* A promise and its future: scheduler/future_base.cpp, scheduler/thread_wait.cpp, scheduler/done_callback.cpp.
 *
 * Two compete to complete it: one with a value, one by cancelling it. Three are told: a task that waits with a limit, a
 * plain thread that waits with a limit, a callback that is registered and perhaps taken back.
 *
 * What is modelled: begin_completion(), finish() and publish(), node by node; subscribing and unsubscribing under the
 * spin lock; the task's wait, opened under the lock and committed after it; the thread's mutex and condition; the
 * references. The nodes of task and thread lie on their stacks: they are there as long as the call.
 *
 * Left out: cancels of who waits (claim_word.pml, cancel_on_its_way.pml); the way of the callback to its shard, which
 * is an inbox, through a gate (inbox.pml, stop.pml). Delayed stores: status_ is stored with release, after the value;
 * x86 keeps the order of stores, and the reader needs no other.
 *
 * Checked: it is completed once; who sees that it is done sees the value; all who wait are told, once (a lost one is an
 * invalid end state); a callback is called or removed; no node, signal or future is touched once it is gone, and the
 * future goes at the end.
 *
 * Each of these, defined, breaks it and must be refuted:
 *   FINISH_WITHOUT_LOCK        the completer does not take the lock (planted)
 *   COMPLETION_IN_TWO_STEPS    begin_completion() looks, then stores
 *   STATUS_FIRST               the status is stored before the value
 *   NOT_UNSUBSCRIBED           a wait that ends by its limit leaves its node in the list
 *   THREAD_LEAVES_EARLY        a thread whose limit has passed too late does not wait for its waker
 *   SIGNALLED_WITHOUT_MUTEX    the waker of a thread does not hold the mutex
 */
#define NODES 3
#define TASK 0
#define THREAD 1
#define CALLBACK 2

#define PENDING 0
#define COMPLETING 1
#define VALUE 2
#define CANCELLED 3

#define RUNNING 0
#define PARKED 1
#define PREPARING 2
#define EVENT 1
#define TIMEOUT 2

byte status;
bool value_is_there;
bool lock;
chan list = [NODES] of {byte}; /* who is told */
byte references = 5;           /* one each */
bool is_gone;

bool is_alive[NODES];          /* the node, where it was subscribed */
byte phase[2];                 /* the claim words of task and thread */
byte winner[2];
bool ready;                    /* the task is on a queue */

#define SET 1
#define FIRES 2
#define OVER 3
byte timer;

bool signal_mutex;             /* the thread's signal */
bool signal_set;

bool called;
bool removed;

inline lock_it() { atomic { assert(!is_gone); !lock -> lock = true } }
inline unlock_it() { atomic { assert(!is_gone); lock = false } }

inline is_done(result) { atomic { assert(!is_gone); result = (status > COMPLETING) } }

/* future_base::release(). In one step: who finds one reference is alone, and finds it so however often it looks. */
inline release() {
  atomic {
    assert(!is_gone);
    references--;
    is_gone = (references == 0)
  }
}

inline begin_completion(result) {
#ifdef COMPLETION_IN_TWO_STEPS
  result = (status == PENDING);
  if
  :: result -> status = COMPLETING
  :: else
  fi
#else
  atomic {
    assert(!is_gone);
    result = (status == PENDING);
    if
    :: result -> status = COMPLETING
    :: else
    fi
  }
#endif
}

/* basic_claim_word::claim(), by the completer or at the limit */
inline claim(node, who, result) {
  atomic {
    assert(is_alive[node]);
    result = phase[node]; /* RUNNING: lost; PREPARING: early */
    if
    :: phase[node] != RUNNING -> phase[node] = RUNNING; winner[node] = who
    :: else
    fi
  }
}

inline finish(how) {
#ifndef FINISH_WITHOUT_LOCK
  lock_it();
#endif
  atomic { assert(!is_gone && status < VALUE); status = how }
  do /* publish() */
  :: atomic { list ? [node] -> list ? node }
    if
    :: node == CALLBACK -> assert(is_alive[node]); wakes[node] = true
    :: else -> claim(node, EVENT, was); wakes[node] = (was == PARKED)
    fi
  :: atomic { empty(list) -> node = 0; was = 0; break }
  od;
#ifndef FINISH_WITHOUT_LOCK
  unlock_it();
#endif
  if /* make_ready() */
  :: wakes[TASK] -> atomic { assert(!ready); ready = true }
  :: else
  fi;
  if
  :: wakes[THREAD] -> /* wake_thread() */
#ifndef SIGNALLED_WITHOUT_MUTEX
    atomic { assert(is_alive[THREAD]); !signal_mutex -> signal_mutex = true }
#endif
    atomic { assert(is_alive[THREAD]); signal_set = true }
    assert(is_alive[THREAD]); /* notify_one() */
#ifndef SIGNALLED_WITHOUT_MUTEX
    atomic { assert(is_alive[THREAD]); signal_mutex = false }
#endif
  :: else
  fi;
  if
  :: wakes[CALLBACK] -> atomic { assert(!called && !removed); called = true; is_alive[CALLBACK] = false }
  :: else
  fi
}

active proctype setter() {
  byte node, was;
  bool mine;
  bool wakes[NODES];
  begin_completion(mine);
  if
  :: mine ->
#ifdef STATUS_FIRST
    finish(VALUE);
    value_is_there = true
#else
    value_is_there = true;
    finish(VALUE)
#endif
  :: else
  fi;
  release()
}

active proctype canceller() {
  byte node, was;
  bool mine;
  bool wakes[NODES];
  begin_completion(mine);
  if
  :: mine -> finish(CANCELLED)
  :: else
  fi;
  release()
}

inline look_at_outcome() {
  atomic {
    assert(!is_gone && status > COMPLETING);
    assert(status != VALUE || value_is_there)
  }
}

inline subscribe(node, added) {
  added = !done;
  if
  :: added -> atomic { is_alive[node] = true; list ! node }
  :: else
  fi
}

inline unsubscribe(node) {
#ifdef NOT_UNSUBSCRIBED
  skip
#else
  lock_it();
  atomic {
    if
    :: list ?? [eval(node)] -> list ?? eval(node); was_there = true
    :: else
    fi
  }
  unlock_it()
#endif
}

/* future_base::wait() of a task: park_until() */
active proctype task() {
  bool done, added, was_there, is_open;
  is_done(done);
  if
  :: done
  :: else ->
    lock_it();
    is_done(done);
    subscribe(TASK, added);
    if
    :: !added -> unlock_it()
    :: else ->
      phase[TASK] = PREPARING;
      unlock_it();
      timer = SET;
      run limit();
      atomic { /* commit(), once the stack is left */
        is_open = (phase[TASK] == PREPARING);
        if
        :: is_open -> phase[TASK] = PARKED
        :: else
        fi
      }
      if
      :: is_open -> atomic { ready -> ready = false }
      :: else
      fi;
      atomic { timer != FIRES -> timer = OVER } /* cancel_timer() */
      if
      :: winner[TASK] == TIMEOUT -> unsubscribe(TASK)
      :: winner[TASK] == EVENT -> done = true
      fi;
      is_alive[TASK] = false
    fi
  fi;
  if
  :: done -> look_at_outcome()
  :: else
  fi;
  release()
}

/* The task's timer. It fires under a lock, which cancel_timer() takes too: timers.pml. */
proctype limit() {
  byte was;
  if
  :: atomic { timer == SET -> timer = FIRES }
    claim(TASK, TIMEOUT, was);
    timer = OVER;
    if
    :: was == PARKED -> atomic { assert(!ready); ready = true }
    :: else
    fi
  :: timer == OVER
  fi
}

/* future_base::wait() of a plain thread: block_thread() */
active proctype thread() {
  byte was;
  bool done, added, was_there;
  is_done(done);
  if
  :: done
  :: else ->
    lock_it();
    is_done(done);
    subscribe(THREAD, added);
    if
    :: !added -> unlock_it()
    :: else ->
      phase[THREAD] = PARKED; /* arm() */
      unlock_it();
      atomic { !signal_mutex -> signal_mutex = true }
      if
      :: signal_set -> done = true
      :: !signal_set ->
        signal_mutex = false; /* a condition waits */
        if
        :: atomic { signal_set && !signal_mutex -> signal_mutex = true } done = true
        :: atomic { !signal_mutex -> signal_mutex = true } /* the limit has passed */
          if
          :: signal_set -> done = true
          :: else ->
            claim(THREAD, TIMEOUT, was);
            if
            :: was != RUNNING -> skip
            :: else -> /* claimed already: the waker is on its way */
#ifndef THREAD_LEAVES_EARLY
              signal_mutex = false;
              atomic { signal_set && !signal_mutex -> signal_mutex = true }
#endif
              done = true
            fi
          fi
        fi
      fi;
      signal_mutex = false;
      if
      :: !done -> unsubscribe(THREAD)
      :: else
      fi;
      is_alive[THREAD] = false
    fi
  fi;
  if
  :: done -> look_at_outcome()
  :: else
  fi;
  release()
}

/* on_done(), remove_on_done() */
active proctype registrar() {
  bool done, added, was_there;
  lock_it();
  is_done(done);
  subscribe(CALLBACK, added);
  unlock_it();
  if
  :: !added -> atomic { assert(!called && !removed); called = true } /* add_registration() makes it ready */
  :: added ->
    if
    :: unsubscribe(CALLBACK);
      if
      :: was_there -> atomic { assert(!called); removed = true; is_alive[CALLBACK] = false }
      :: else
      fi
    :: skip
    fi
  fi;
  release();
  atomic { called || removed -> assert(called != removed) }
  is_gone /* when all have let go */
}
