/* What other threads bring to a shard: scheduler/inbox.hpp, shard::receive() and drain_inbox(), send_pinned() of
 * scheduler/wait.cpp. The owner, two shards that send.
 *
 * What is modelled: push() with its load and its compare-exchange, which may fail and go round; drain() with its looks,
 * its exchange and the turning round, link by link; the sleep of the owner and what wakes it; a node that is sent again
 * as soon as it was run, while another producer still has it in mind as the newest; a roving producer that sends from
 * another shard, moves to the owner and appends there.
 *
 * Left out: weak failures of the compare-exchange (they only go round once more); the idle word, searching and the
 * watch (sleep_wake.pml); stores that are delayed: push() and the announcement are read-modify-writes or seq_cst, which
 * on x86 drain what is delayed, and LOOK_FIRST is what would come of one that does not.
 *
 * Checked: each message is run once for each time it was sent, and in the order of its producer, also of one that
 * moved; a node is in one list at a time; the owner does not sleep beside a message (it would never end: an invalid end
 * state).
 *
 * Each of these, defined, breaks it and must be refuted:
 *   INBOX_NEWEST_FIRST         drain() does not turn the list round (planted)
 *   DRAIN_IN_TWO_STEPS         drain() looks at the list, then clears it (planted)
 *   MESSAGE_WITHOUT_WAKE       receive() wakes nobody (planted)
 *   SLEEP_WITHOUT_SECOND_LOOK  the owner does not look again after it has announced its sleep (planted)
 *   LOOK_FIRST                 the look comes before the announcement is to be seen
 *   PUSH_IN_TWO_STEPS          push() stores where it should compare and exchange
 *   APPEND_WITHOUT_DRAIN       a producer that has moved here appends before what it sent is taken in (D6)
 */
#define NODES 5 /* 0 is none */
#define TO_BE_RUN 5
#define AWAKE 0
#define ASLEEP 1

byte newest;
byte next[NODES];
bool is_listed[NODES];
byte runs[NODES];
byte flag;
bool bell;
bool wants_to_move; /* the roving producer may be taken to the owner's shard */

/* inbox::push() */
inline push(node) {
  seen = newest; /* relaxed: a guess */
  do
  ::
    next[node] = seen;
#ifdef PUSH_IN_TWO_STEPS
    atomic { assert(!is_listed[node]); is_listed[node] = true; newest = node }
    break
#else
    atomic {
      if
      :: newest == seen -> assert(!is_listed[node]); is_listed[node] = true; newest = node; break
      :: else -> seen = newest
      fi
    }
#endif
  od;
  seen = 0
}

/* shard::receive(), wake_if_asleep(), idle_set::take_from_sleep() */
inline receive(node) {
  push(node);
#ifndef MESSAGE_WITHOUT_WAKE
  if
  :: flag == ASLEEP ->
    atomic {
      if
      :: flag == ASLEEP -> flag = AWAKE; must_wake = true
      :: else
      fi
    }
    if
    :: must_wake -> atomic { must_wake = false; bell = true }
    :: else
    fi
  :: else
  fi
#endif
}

/* shard 1 */
active proctype sender() {
  byte seen;
  bool must_wake;
  receive(1);
  receive(2);
  runs[1] == 1; /* the task that it stands for has run, and parked */
  receive(1)
}

/* A roving task on shard 2: sends 3, then 4, from wherever it is by then. */
active proctype producer() {
  byte seen;
  bool must_wake;
  receive(3);
  if
  :: receive(4)
  :: wants_to_move = true;
    if
    :: atomic { wants_to_move -> wants_to_move = false }
      receive(4)
    :: !wants_to_move
    fi
  fi
}

/* A list node by node; each was handed over by the exchange and is the owner's alone. */
inline drain_inbox() {
  if
  :: newest == 0 /* looks_empty() */
  :: else ->
#ifdef DRAIN_IN_TWO_STEPS
    rest = newest;
    newest = 0;
#else
    atomic { rest = newest; newest = 0 } /* [publish] */
#endif
#ifdef INBOX_NEWEST_FIRST
    oldest = rest;
    rest = 0;
#else
    oldest = 0;
    do
    :: rest != 0 ->
      older = next[rest];
      next[rest] = oldest;
      oldest = rest;
      rest = older
    :: else -> break
    od;
#endif
    do
    :: oldest != 0 ->
      older = next[oldest];
      atomic { assert(is_listed[oldest]); is_listed[oldest] = false; ready ! oldest }
      oldest = older
    :: else -> break
    od;
    older = 0
  fi
}

inline run_one() {
  atomic {
    ready ? node;
    if
    :: node == 2 -> assert(runs[1] >= 1)
    :: node == 4 -> assert(runs[3] == 1)
    :: else
    fi;
    runs[node]++;
    assert(runs[node] == 1 || (node == 1 && runs[node] == 2));
    left--;
    node = 0
  }
}

active proctype owner() {
  chan ready = [TO_BE_RUN] of {byte};
  byte rest, oldest, older, node;
  byte left = TO_BE_RUN;
  bool found, moved;

  do
  :: left == 0 -> break
  :: else ->
    drain_inbox();
    do
    :: nempty(ready) -> run_one()
    :: empty(ready) -> break
    od;
    /* It may take the roving task. */
    atomic {
      if
      :: wants_to_move -> wants_to_move = false; moved = true
      :: true
      fi
    }
    if
    :: moved -> /* shard::append() */
#ifndef APPEND_WITHOUT_DRAIN
      drain_inbox();
#endif
      atomic { moved = false; ready ! 4 }
    :: else -> /* shard::sleep() */
#ifdef LOOK_FIRST
      found = (newest != 0);
#endif
      flag = ASLEEP;
#if defined(SLEEP_WITHOUT_SECOND_LOOK)
      found = false;
#elif !defined(LOOK_FIRST)
      found = (newest != 0);
#endif
      if
      :: found
      :: !found && left == 0
      :: !found && left != 0 -> atomic { bell -> bell = false }
      fi;
      atomic { flag = AWAKE; found = false }
    fi
  od;
  assert(newest == 0 && runs[1] == 2 && runs[2] == 1 && runs[3] == 1 && runs[4] == 1)
}
