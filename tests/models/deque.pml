/* The deque of scheduler/deque.hpp: its owner and two thieves, on a machine that delays stores as x86 does (TSO).
 *
 * What is modelled: push(), pop() and steal(), each load, store and compare-exchange one step; a deque of two places,
 * so that slots are written over; the owner taking the oldest by steal(), as it does with woken tasks and where it
 * spills. The owner's stores pass through a buffer (`memory` brings them to where thieves see them); a store that is
 * seq_cst waits until the buffer is empty, and so does a compare-exchange. Thieves have no plain stores. What the owner
 * wrote it reads back itself (I1), so it has a copy of its own.
 *
 * Left out: thief_lock_, which lets one thief at a time to a victim (two are harder); looks_empty() and its part in
 * going to sleep, which sleep_wake.pml has; loads out of order, which x86 does not have (tests of the template in C++
 * are for what the language allows beyond).
 *
 * Checked: each element is taken once; none is left when its owner finds nothing; I2.
 *
 * Each of these, defined, breaks it and must be refuted:
 *   LAST_OF_DEQUE_UNRACED   pop() keeps the last element though a thief was faster (planted)
 *   STEAL_IN_TWO_STEPS      steal() looks at top_, then stores it (planted)
 *   POP_RELEASE             pop() stores bottom_ with release: it looks at top_ before thieves see that
 *   BOTTOM_FIRST            steal() loads bottom_ before top_
 *   SLOT_AFTER              steal() reads the slot once top_ is moved
 *   PUBLISHED_FIRST         push() moves bottom_ before the slot is written
 */
#define CAPACITY 2
#define ELEMENTS 4
#define BOTTOM CAPACITY /* where a store goes: this, or a slot */

byte top; /* as all see it */
byte bottom;
byte slot[CAPACITY];
byte own_bottom; /* as the owner sees it */
byte own_slot[CAPACITY];
chan buffer = [3] of {byte, byte};

byte taken[ELEMENTS + 1];
byte unread; /* SLOT_AFTER: elements that somebody has and has not read */

inline takes(what) {
  assert(what != 0);
  taken[what]++;
  assert(taken[what] == 1)
}

active proctype memory() {
  byte place, value;
end:
  do
  :: atomic {
      buffer ? place, value;
      if
      :: place == BOTTOM -> bottom = value
      :: else -> slot[place] = value
      fi;
      place = 0;
      value = 0
    }
  od
}

inline store_relaxed(place, value) {
  atomic {
    buffer ! place, value;
    if
    :: place == BOTTOM -> own_bottom = value
    :: else -> own_slot[place] = value
    fi
  }
}

inline store_seq_cst(place, value) {
  store_relaxed(place, value);
  empty(buffer)
}

/* push(): the oldest spills when it is full, as in shard::push_fresh(). */
inline push(element) {
  t = top; /* [reuse] */
  assert(t <= own_bottom && own_bottom - t <= CAPACITY);
  if
  :: own_bottom - t == CAPACITY -> steal_own()
  :: else ->
#ifdef PUBLISHED_FIRST
    b = own_bottom;
    store_seq_cst(BOTTOM, own_bottom + 1);
    store_relaxed(b % CAPACITY, element);
#else
    store_relaxed(own_bottom % CAPACITY, element);
    store_seq_cst(BOTTOM, own_bottom + 1); /* [publish] */
#endif
    element++
  fi
}

inline pop() {
  b = own_bottom;
  if
  :: top >= b -> empty_seen = true /* relaxed: spares the barrier */
  :: else ->
    b--;
#ifdef POP_RELEASE
    store_relaxed(BOTTOM, b);
#else
    store_seq_cst(BOTTOM, b); /* [last] */
#endif
    t = top;
    if
    :: t < b -> atomic { takes(own_slot[b % CAPACITY]) }
    :: t == b ->
      atomic {
        empty(buffer); /* a compare-exchange drains it too */
        if
        :: top == t -> top++; takes(own_slot[b % CAPACITY])
        :: else ->
#ifdef LAST_OF_DEQUE_UNRACED
          takes(own_slot[b % CAPACITY])
#else
          skip
#endif
        fi
      }
      store_relaxed(BOTTOM, b + 1)
    :: else -> store_relaxed(BOTTOM, b + 1)
    fi
  fi
}

inline compare_exchange_top(element) {
#ifdef STEAL_IN_TWO_STEPS
  atomic { top = t + 1; takes(element) }
#else
  atomic {
    if
    :: top == t ->
      top = t + 1;
#ifdef SLOT_AFTER
      unread++
#else
      takes(element)
#endif
    :: else -> t = 255 /* lost_race */
    fi
  }
#ifdef SLOT_AFTER
  if
  :: t != 255 -> atomic { takes(slot[t % CAPACITY]); unread-- }
  :: else
  fi
#endif
#endif
}

inline steal_own() {
  t = top;
  b = own_bottom;
  if
  :: t >= b
  :: else ->
    empty(buffer);
    compare_exchange_top(own_slot[t % CAPACITY])
  fi
}

active proctype owner() {
  byte t, b;
  byte next = 1;
  bool empty_seen;
  do
  :: next <= ELEMENTS -> push(next)
  :: empty_seen = false;
    pop();
    if
    :: empty_seen && next > ELEMENTS -> break
    :: else
    fi
  :: steal_own()
  :: atomic { t = 0; b = 0 } /* so that states do not differ for nothing */
  od;
  atomic {
    unread == 0;
    t = 1;
    do
    :: t <= ELEMENTS -> assert(taken[t] == 1); t++
    :: else -> break
    od
  }
}

active[2] proctype thief() {
  byte t, b, oldest;
end:
  do
  ::
#ifdef BOTTOM_FIRST
    b = bottom;
    t = top;
#else
    t = top;    /* [last] */
    b = bottom; /* [last] [publish] */
#endif
    if
    :: t >= b
    :: else ->
      oldest = slot[t % CAPACITY];
      compare_exchange_top(oldest)
    fi;
    atomic { t = 0; b = 0; oldest = 0 }
  od
}
