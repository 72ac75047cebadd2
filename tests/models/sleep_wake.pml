/* The sleep/wake protocol of scheduler/idle.hpp, for three shards, checked over all interleavings.
 *
 * What is modelled: inboxes, roving work that everybody sees, the idle word (how many sleep, how many search), the
 * shards' flags, bells, a searcher that is called and one that searches by itself, chaining, and a promise that is
 * taken back. Each atomic operation of the code is one step here. A task may run for ever, so that its shard never
 * looks at anything again: what is left must be found by the others. The watch is left out: it would find what is lost
 * here, later.
 *
 * Checked when nothing can move any more: no shard that could run has something in its inbox, and no roving work is
 * left while a shard sleeps.
 *
 * With SMALL defined there is one piece of roving work instead of two: that is explored in a minute.
 *
 * Each of these, defined, breaks the protocol and must be refuted:
 *   SLEEP_WITHOUT_SECOND_LOOK  sleep without looking once more after the announcement (planted)
 *   LOOK_FIRST                 the look comes before the announcement
 *   MESSAGE_WITHOUT_WAKE       a message does not wake a sleeper (planted)
 *   ROVING_WITHOUT_CALL        who publishes roving work calls nobody (planted)
 *   FOUND_ALONE                who finds work at the second look takes it, and does not look for more (planted)
 *   NO_CHAIN                   a searcher that found work does not look whether there is more
 *   ANYBODY_AWAKE              a producer wakes nobody as long as one shard is awake
 */
#ifdef SMALL
#define PUBLISHED 1
#else
#define PUBLISHED 2
#endif
#define SHARDS 3
#define AWAKE 0
#define ASLEEP 1
#define CALLED 2

byte inbox[SHARDS];
byte flag[SHARDS];
bool bell[SHARDS];
bool stuck[SHARDS];
bool blocked[SHARDS];
byte tasks;     /* roving work that can be seen */
byte sleeping;  /* the idle word: both change in one step */
byte searching;

/* P2 and P3: who published roving work wakes a sleeper, if one sleeps and nobody searches. */
inline call_one(candidate, called, go_on) {
  atomic { go_on = true; candidate = 0; called = false }
  do
  :: go_on ->
#ifdef ANYBODY_AWAKE
    if
    :: sleeping < SHARDS -> go_on = false; goto call_ended
    :: else
    fi;
#endif
    atomic {
      if
      :: sleeping == 0 || searching != 0 -> go_on = false
      :: else -> searching++
      fi
    }
    if
    :: !go_on -> break
    :: else
    fi;
    called = false;
    candidate = 0;
    do
    :: candidate < SHARDS && !called ->
      atomic {
        if
        :: flag[candidate] == ASLEEP -> flag[candidate] = CALLED; called = true
        :: else -> candidate++
        fi
      }
    :: else -> break
    od;
    if
    :: called ->
      sleeping--;
      bell[candidate] = true;
      go_on = false
    :: else ->  /* all had woken by themselves: the promise is taken back */
      atomic { searching--; go_on = (searching == 0) }
      if
      :: go_on && tasks == 0 -> go_on = false
      :: else
      fi
    fi
  :: else -> break
  od;
call_ended:
  atomic { called = false; candidate = 0; go_on = false }
}

/* The caller is a searcher no more. */
inline stop_searching(last, candidate, called, go_on) {
  is_searcher = false;
  atomic { searching--; last = (searching == 0) }
#ifndef NO_CHAIN
  if
  :: atomic { last && tasks > 0 -> last = false } call_one(candidate, called, go_on)
  :: atomic { !last || tasks == 0 -> last = false }
  fi
#endif
}

/* S5, and after S3: the announcement is taken back unless a waker did. */
inline wake_up(before) {
  atomic { before = flag[me]; flag[me] = AWAKE }
  if
  :: atomic { before == ASLEEP -> sleeping--; before = 0 }
  :: atomic { before == CALLED -> is_searcher = true; before = 0 }
  :: else
  fi
}

inline run_a_task() {
  if
  :: skip
  :: stuck[me] = true; goto end_stuck
  fi
}

proctype shard(byte me) {
  bool is_searcher = false;
  bool found, last, called, go_on;
  byte before, candidate;

turn:
  atomic { found = false; last = false; before = 0 }
  do
  :: atomic { inbox[me] > 0 -> inbox[me]-- }
  :: atomic { inbox[me] == 0 && tasks > 0 -> tasks-- } run_a_task()
  :: atomic { inbox[me] == 0 && tasks == 0 -> break }
  od;

  /* S1 */
  if
  :: !is_searcher ->
    atomic {
      if
      :: 2 * searching < SHARDS -> searching++; is_searcher = true
      :: else
      fi
    }
  :: else
  fi;
  if
  :: is_searcher ->
    found = false;
    atomic {
      if
      :: tasks > 0 -> tasks--; found = true
      :: else
      fi
    }
    if
    :: found -> stop_searching(last, candidate, called, go_on); run_a_task(); goto turn
    :: else
    fi
  :: else
  fi;
  if
  :: inbox[me] > 0 ->
    if
    :: is_searcher -> stop_searching(last, candidate, called, go_on)
    :: else
    fi;
    goto turn
  :: else
  fi;

#ifdef LOOK_FIRST
  found = (inbox[me] > 0);
  found = found || (tasks > 0);
#endif
  /* S2 */
  atomic {
    sleeping++;
    if
    :: is_searcher -> searching--; is_searcher = false
    :: else
    fi
  }
  flag[me] = ASLEEP;
  /* S3 */
#if defined(SLEEP_WITHOUT_SECOND_LOOK)
  found = false;
#elif !defined(LOOK_FIRST)
  found = (inbox[me] > 0);
  found = found || (tasks > 0);
#endif
  if
  :: found ->
    wake_up(before);
#ifndef FOUND_ALONE
    if
    :: !is_searcher ->
      atomic {
        if
        :: 2 * searching < SHARDS -> searching++; is_searcher = true
        :: else
        fi
      }
    :: else
    fi
#endif
  :: atomic { !found -> blocked[me] = true }
    /* S4 */
end_asleep:
    atomic { bell[me] -> bell[me] = false; blocked[me] = false }
    wake_up(before)
  fi;
  /* Called for roving work that somebody published, or found by the second look. */
  if
  :: is_searcher ->
    found = false;
    atomic {
      if
      :: tasks > 0 -> tasks--; found = true
      :: else
      fi
    }
    stop_searching(last, candidate, called, go_on);
    if
    :: found -> run_a_task()
    :: else
    fi
  :: else
  fi;
  goto turn;

end_stuck: skip
}

/* A thread from outside, or a task on some shard, that publishes roving work. */
proctype publisher() {
  bool called, go_on;
  byte candidate;
  byte left = PUBLISHED;
  do
  :: left > 0 ->
    left--;
    tasks++;                            /* P1 */
#ifndef ROVING_WITHOUT_CALL
    call_one(candidate, called, go_on)  /* P2, P3 */
#endif
  :: else -> break
  od
}

proctype sender(byte to) {
  bool must_wake = false;
  inbox[to]++;
  if
  :: flag[to] == ASLEEP ->
    atomic {
      if
      :: flag[to] == ASLEEP -> flag[to] = AWAKE; must_wake = true
      :: else
      fi
    }
  :: else
  fi;
#ifndef MESSAGE_WITHOUT_WAKE
  if
  :: must_wake -> sleeping--; bell[to] = true
  :: else
  fi
#endif
}

init {
  byte i = 0;
  atomic {
    do
    :: i < SHARDS -> run shard(i); i++
    :: else -> break
    od;
    run publisher();
    run sender(0)
  }
end_checked:
  timeout ->
    i = 0;
    do
    :: i < SHARDS ->
      assert(!blocked[i] || inbox[i] == 0);
      assert(!blocked[i] || tasks == 0);
      i++
    :: else -> break
    od
}
