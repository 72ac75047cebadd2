/* The start of a runtime: the constructor of scheduler (scheduler/scheduler.cpp), with start_report, stop_threads() and
 * what a shard's thread does in shard::run() and sleep(). Three shards: the constructor's thread, two that it starts.
 *
 * What is modelled: threads that are started one by one, each only when the one before has said how it went; a start
 * that the system refuses, and one that fails in the new thread (begin_thread()); the mutex and the condition of the
 * report, which lies on the starter's stack; a constructor that fails half way, and stops what has begun; one that
 * succeeds, and a runtime that ends at once. A parker keeps a wake() for the wait that comes next.
 *
 * Left out: what shards do when they have something to do (sleep_wake.pml, stop.pml). Delayed stores: is_there_ is
 * under a mutex, stopping_ is seq_cst and followed by a system call.
 *
 * Checked: the constructor ends, and after it no thread runs if it failed; threads touch neither a report nor a shard
 * that is gone; who has failed is not waited for. What waits for ever is an invalid end state.
 *
 * Each of these, defined, breaks it and must be refuted:
 *   THREADS_STOPPED_WITHOUT_WAKE   stop_threads() wakes nobody (planted)
 *   NOTIFIED_WITHOUT_LOCK          start_report::say() notifies after it has let go of the mutex
 *   FAILED_START_LEAVES_THREADS    the constructor does not stop what has begun when a later start fails
 *   FAILURE_NOT_SAID               a thread whose begin_thread() fails just ends
 *   WAKE_NOT_KEPT                  a wake() that finds nobody waiting is forgotten
 */
#define SHARDS 3

bool report_is_there;  /* the object, on the starter's stack */
bool mutex;
bool said;
bool has_failed;
bool notified;         /* the condition: who waits on it goes on */
bool waits;

bool stopping;
bool bell[SHARDS];
bool blocked[SHARDS];  /* in parker::wait() */
bool started[SHARDS];
bool ended[SHARDS];
bool shards_are_gone;

/* start_report::say() */
inline say(failed) {
  atomic { !mutex -> assert(report_is_there); mutex = true }
  has_failed = failed;
  said = true;
#ifdef NOTIFIED_WITHOUT_LOCK
  mutex = false;
  atomic { assert(report_is_there); notified = notified || waits }
#else
  atomic { assert(report_is_there); notified = notified || waits }
  atomic { assert(report_is_there); mutex = false }
#endif
}

proctype thread(byte me) {
  if
  :: skip
  :: /* begin_thread() threw */
#ifndef FAILURE_NOT_SAID
    say(true);
#endif
    goto over
  fi;
  say(false);
  do /* shard::run(), finished_running() */
  ::
    assert(!shards_are_gone);
    if
    :: stopping -> break
    :: else
    fi;
    if
    :: stopping /* the second look */
    :: else -> /* parker::wait() */
      atomic {
        if
        :: bell[me] -> bell[me] = false
        :: else -> blocked[me] = true
        fi
      }
      if
      :: blocked[me] -> atomic { bell[me] -> bell[me] = false; blocked[me] = false }
      :: else
      fi
    fi
  od;
over:
  ended[me] = true
}

/* parker::wake() */
inline wake(which) {
  atomic {
    assert(!shards_are_gone);
#ifdef WAKE_NOT_KEPT
    bell[which] = blocked[which]
#else
    bell[which] = true
#endif
  }
}

/* Destroying threads_ joins them. */
inline join_all() {
  i = 1;
  do
  :: i < SHARDS ->
    if
    :: started[i] -> ended[i]
    :: else
    fi;
    started[i] = false;
    i++
  :: else -> break
  od
}

inline stop_threads() {
  stopping = true;
#ifndef THREADS_STOPPED_WITHOUT_WAKE
  i = 1;
  do
  :: i < SHARDS -> wake(i); i++
  :: else -> break
  od;
#endif
  join_all()
}

/* start_report::wait(): with the mutex, until it is said. */
inline wait_for_report() {
  atomic { !mutex -> mutex = true }
  do
  :: said -> break
  :: else ->
    atomic { waits = true; mutex = false } /* as a condition does */
    atomic { notified -> notified = false; waits = false }
    atomic { !mutex -> mutex = true }
  od;
  failed = has_failed;
  mutex = false
}

active proctype constructor() {
  byte i;
  byte next = 1;
  bool failed;
  do
  :: next < SHARDS && !failed ->
    atomic { report_is_there = true; said = false; has_failed = false; notified = false; waits = false }
    if
    :: failed = true /* thread_starter::start() threw */
    :: started[next] = true; run thread(next); wait_for_report()
    fi;
    atomic { report_is_there = false; mutex = false }
    next++
  :: else -> break
  od;
  if
  :: failed ->
#ifdef FAILED_START_LEAVES_THREADS
    join_all()
#else
    stop_threads()
#endif
  :: else -> stop_threads() /* the end, here without anything between */
  fi;
  shards_are_gone = true
}
