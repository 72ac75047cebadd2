/* The end of a runtime: scheduler::close() and what it needs of the shards (scheduler/scheduler.cpp, shard::run(),
 * shard::sleep(), allocate_task(), scheduler/gate.hpp). Three shards, and a plain thread that posts to one of them.
 *
 * The story: task A is parked on shard 1. close() cancels it, it cleans up and ends. Meanwhile a callback comes in by
 * the door of shard 1 or 2; it spawns task B there, which spawns task C on the other of the two and ends, as C does.
 *
 * What is modelled: the counts of spawned and finished tasks, read one by one; cancelling and waiting, in rounds;
 * waiting until no task lives, and who wakes shard 0 then; the flags closed_, stopping_ and callbacks_may_spawn_; the
 * doors; generations; the threads that are stopped, woken and joined; what is dropped at last.
 *
 * Left out: searching and roving work (sleep_wake.pml); the deadline; generators and pools, which are waited for as
 * tasks are; how a cancel reaches a task (claim_word.pml) and how the end of a task is told (future.pml). Delayed
 * stores: the counts are plain stores; between them and the look at who sleeps (or at callbacks_may_spawn_) lies a
 * read-modify-write.
 *
 * Checked: no task lives when the runtime is closed, and none is dropped; cleanup can spawn; a callback that came in is
 * run or dropped, once; nobody touches a shard that is gone; close() returns (else an invalid end state).
 *
 * Each of these, defined, breaks it and must be refuted:
 *   CLOSED_BEFORE_TASKS_ENDED      closed_ is set before tasks are cancelled (planted)
 *   THREADS_STOPPED_WITHOUT_WAKE   stop_threads() wakes nobody (planted)
 *   SPAWN_UNSEEN_BY_CLOSE          a callback that spawns asks closed_ only (planted)
 *   NOT_WOKEN_WHILE_DRAINING       a shard that goes to sleep does not wake shard 0
 *   BEGINNINGS_FIRST               no_task_lives() adds up what was spawned before what has finished
 *   DOORS_NOT_AWAITED              gate::close() does not wait until all are out
 *   STOPPED_AFTER_WAKE             stop_threads() wakes the shards, then sets stopping_
 */
#define SHARDS 3
#define TASKS 3
#define A 0
#define B 1
#define C 2

#define NONE 0 /* a block that is not used */
#define LIVES 1
#define DONE 2

#define CALLBACK 10    /* in a queue: a callback; the end of a task, + its number; a task that is ready, + its number */
#define TASK_END 20
#define TASK 30

#define AWAKE 0
#define ASLEEP 1

chan inbox[SHARDS] = [5] of {byte};
byte flag[SHARDS];
bool bell[SHARDS];
byte spawned[SHARDS];
byte finished[SHARDS];
byte inside[SHARDS]; /* the gates' words */
bool door_closed[SHARDS];

byte status[TASKS];
bool waited_for[TASKS]; /* close() has subscribed */
byte lives;             /* counted in one place, to check */

bool closed;
bool stopping;
bool callbacks_may_spawn = true;
bool is_gone; /* the shards */
bool ended[SHARDS];

byte calls;
byte sent;
byte dropped;

/* What is a shard's own. */
#define OWN                                                                            \
  chan queue = [6] of {byte}; /* ready_ */                                             \
  xr queue;                                                                            \
  xs queue;                                                                            \
  bool until_no_task_lives, stop_requested, is_over;                                   \
  byte node, generation, remaining;                                                     \
  short sum

/* shard::wake_if_asleep(). In one step: sleep_wake.pml has what lies between the flag and the bell. A bell that comes
 * for a sleep which was called off is silenced here; the code keeps it for the next sleep, which it ends early. */
inline wake_if_asleep(to) {
  atomic {
    if
    :: flag[to] == ASLEEP -> flag[to] = AWAKE; bell[to] = true
    :: else
    fi
  }
}

/* shard::receive(), by a shard or by who is inside the door. In one step too: inbox.pml has it. */
inline receive(to, what) {
  atomic {
    assert(!is_gone);
    inbox[to] ! what;
    wake_if_asleep(to)
  }
}

/* The end of a task: publish() tells close(), then it is counted. */
inline end_task(which) {
  atomic {
    status[which] = DONE;
    lives--;
    if
    :: waited_for[which] -> receive(0, TASK_END + which)
    :: else
    fi
  }
  finished[me]++
}

inline run_one() {
  atomic { generation--; queue ? node }
  if
  :: atomic { node == CALLBACK -> calls++; is_over = closed }
    /* allocate_task(): a task of nobody's */
    if
    :: is_over /* runtime_closed */
    :: else ->
      spawned[me]++;
#ifdef SPAWN_UNSEEN_BY_CLOSE
      begin_task(B)
#else
      if
      :: atomic { callbacks_may_spawn -> begin_task(B) }
      :: !callbacks_may_spawn -> finished[me]++ /* runtime_closed, abandon_task() */
      fi
#endif
    fi
  :: atomic { node == TASK + A -> assert(!closed) } /* cancelled: its cleanup may spawn */
    end_task(A)
  :: node == TASK + B ->
    assert(!closed);
    spawned[me]++;
    atomic { status[C] = LIVES; lives++; receive(3 - me, TASK + C) }
    end_task(B)
  :: node == TASK + C -> end_task(C)
  :: atomic { node >= TASK_END && node < TASK ->
      remaining--;
      if
      :: remaining == 0 -> stop_requested = true
      :: else
      fi
    }
  fi;
  node = 0
}

/* queue_task(): it comes with the next generation. */
inline begin_task(which) {
  atomic { assert(status[which] == NONE); status[which] = LIVES; lives++; queue ! TASK + which }
}

/* scheduler::no_task_lives(). Shard 0 spawns nothing here. */
inline look_whether_tasks_live(result) {
#ifdef BEGINNINGS_FIRST
  sum = spawned[1];
  sum = sum + spawned[2];
  sum = sum - finished[1];
  atomic { result = (sum == finished[2]); sum = 0 }
#else
  sum = finished[1];
  sum = sum + finished[2];
  sum = sum - spawned[1];
  atomic { result = (sum == spawned[2]); sum = 0 }
#endif
}

inline drain_inbox() {
  do
  :: nempty(inbox[me]) -> inbox[me] ? node; queue ! node
  :: empty(inbox[me]) -> node = 0; break
  od
}

inline finished_running(result) {
  if
  :: me != 0 -> result = stopping
  :: me == 0 && stop_requested -> result = true
  :: me == 0 && !stop_requested && until_no_task_lives -> look_whether_tasks_live(result)
  :: me == 0 && !stop_requested && !until_no_task_lives -> result = false
  fi
}

/* shard::run(); a generation is what was ready when it began. */
inline run_loop() {
  do
  ::
    finished_running(is_over);
    if
    :: is_over -> break
    :: else
    fi;
    atomic { drain_inbox(); generation = len(queue) }
    do
    :: generation != 0 -> run_one()
    :: else -> break
    od;
    if /* has_own_work() */
    :: nempty(queue)
    :: empty(queue) && me == 0 && stop_requested
    :: empty(queue) && (me != 0 || !stop_requested) -> /* shard::sleep() */
      flag[me] = ASLEEP;
      is_over = nempty(inbox[me]);
      if
      :: !is_over -> finished_running(is_over)
      :: else
      fi;
      if
      :: is_over
      :: else ->
#ifndef NOT_WOKEN_WHILE_DRAINING
        if
        :: me != 0 -> wake_if_asleep(0) /* draining_ is set */
        :: else
        fi;
#endif
        bell[me]
      fi;
      atomic { flag[me] = AWAKE; bell[me] = false }
    fi
  od;
  atomic { stop_requested = (me != 0 && stop_requested); is_over = false }
}

/* shard::drop_what_is_left(), which close() calls once the threads are joined: nobody else is there any more, so that
 * it comes to the same if each does it itself. */
inline drop_what_is_left() {
  drain_inbox();
  do
  :: nempty(queue) -> queue ? node; assert(node == CALLBACK); dropped++
  :: empty(queue) -> node = 0; break
  od
}

proctype shard(byte me) {
  OWN;
  run_loop();
  atomic {
    drop_what_is_left();
    ended[me] = true
  }
}

/* scheduler::send(), from a plain thread */
inline send(to) {
  atomic { /* gate::enter() */
    inside[to]++;
    is_in = !door_closed[to]
  }
  if
  :: is_in -> sent++; receive(to, CALLBACK)
  :: else
  fi;
  inside[to]-- /* gate::leave() */
}

active proctype poster() {
  bool is_in;
  if
  :: send(1)
  :: send(2)
  fi
}

/* scheduler::cancel_all_and_wait() */
inline cancel_all_and_wait() {
  do
  ::
    /* live_tasks(), slab by slab */
    snapshot[A] = (status[A] == LIVES);
    atomic { snapshot[B] = (status[B] == LIVES); snapshot[C] = (status[C] == LIVES) }
    if
    :: !snapshot[0] && !snapshot[1] && !snapshot[2] ->
      until_no_task_lives = true;
      run_loop();
      until_no_task_lives = false;
      look_whether_tasks_live(none_lives);
      if
      :: none_lives -> break
      :: else
      fi
    :: else ->
      if /* request_cancel(); only A is in a wait that a cancel ends */
      :: atomic { snapshot[A] && !is_cancelled -> is_cancelled = true; receive(1, TASK + A) }
      :: else
      fi;
      /* wait_for() */
      remaining = snapshot[0] + snapshot[1] + snapshot[2];
      do
      :: i < TASKS && !snapshot[i] -> i++
      :: i < TASKS && snapshot[i] ->
        atomic { /* subscribe() */
          if
          :: status[i] == LIVES -> waited_for[i] = true
          :: else -> queue ! TASK_END + i
          fi;
          snapshot[i] = false;
          i++
        }
      :: else -> i = 0; break
      od;
      do
      :: remaining != 0 -> run_loop()
      :: else -> break
      od
    fi
  od
}

inline wait_until_no_task_lives() {
  do
  ::
    look_whether_tasks_live(none_lives);
    if
    :: none_lives -> break
    :: else -> cancel_all_and_wait()
    fi
  od
}

/* Shard 0: scheduler::close() */
proctype closer() {
  byte me = 0;
  OWN;
  byte i;
  bool none_lives, is_cancelled;
  bool snapshot[TASKS];

#ifdef CLOSED_BEFORE_TASKS_ENDED
  closed = true;
#endif
  cancel_all_and_wait();
#ifdef SPAWN_UNSEEN_BY_CLOSE
  wait_until_no_task_lives();
#else
  do
  ::
    wait_until_no_task_lives();
    callbacks_may_spawn = false; /* an exchange, as the callback's look is a compare-exchange */
    look_whether_tasks_live(none_lives);
    if
    :: none_lives -> break
    :: else -> callbacks_may_spawn = true
    fi
  od;
#endif
  closed = true;
  assert(lives == 0);
  do
  :: i < SHARDS -> /* gate::close() */
    door_closed[i] = true;
#ifndef DOORS_NOT_AWAITED
    inside[i] == 0;
#endif
    i++
  :: else -> break
  od;
  /* stop_threads() */
#ifdef STOPPED_AFTER_WAKE
  bell[1] = true;
  bell[2] = true;
  stopping = true;
#else
  stopping = true;
#ifndef THREADS_STOPPED_WITHOUT_WAKE
  bell[1] = true;
  bell[2] = true;
#endif
#endif
  ended[1];
  ended[2];
  atomic {
    drop_what_is_left();
    is_gone = true;
    assert(lives == 0 && calls + dropped == sent)
  }
}

init {
  atomic {
    status[A] = LIVES;
    lives = 1;
    spawned[1] = 1;
    run shard(1);
    run shard(2);
    run closer()
  }
}
