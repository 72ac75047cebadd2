/* A timed callback that is cancelled from another shard: scheduler/callback.cpp, with the doors (scheduler/gate.hpp)
 * and shard::drop_what_is_left(). The owner, whose wheel the timer is in; two shards that cancel by handles of their
 * own; the runtime may close at any moment.
 *
 * What is modelled: the phase of the block, which decides who has the callable; the message that takes the timer off
 * the wheel, where the block itself is the message; the way through the door; references: the wheel's, the message's,
 * the two handles'; what is dropped when the runtime closes.
 *
 * Left out: a cancel on the owner's own shard (it goes straight to the wheel); the wheel (timers.pml, for roving work:
 * this one is its owner's alone), the inbox (inbox.pml). Delayed stores: phase, references and the gate are read-
 * modify-writes.
 *
 * Checked: the callable is called or destroyed, once; the block is in the inbox once at a time; nobody touches a block
 * or a shard that is gone; the block goes, once.
 *
 * Each of these, defined, breaks it and must be refuted:
 *   TAKEN_IN_TWO_STEPS          who wants the callable looks at the phase, then stores it
 *   MESSAGE_WITHOUT_REFERENCE   the message has none
 *   WHEEL_REFERENCE_DROPPED     who takes the message drops the wheel's reference though the timer has fired
 *   DOOR_NOT_ASKED              who cancels goes to the shard past the door
 *   CLOSE_DOES_NOT_WAIT         gate::close() does not wait until all are out
 */
bool taken;             /* phase_ */
bool called;
bool destroyed;
byte references = 3;    /* the wheel's, two handles' */
bool is_set = true;     /* in the wheel */
bool is_in_inbox;

byte inside;
bool is_closed;
bool shard_is_gone;

inline release() {
  atomic {
    assert(references != 0);
    references--
  }
}

/* callback::take() */
inline take(mine) {
#ifdef TAKEN_IN_TWO_STEPS
  mine = !taken;
  taken = true
#else
  atomic {
    assert(references != 0);
    mine = !taken;
    taken = true
  }
#endif
}

inline end_callable(how) {
  atomic {
    assert(references != 0 && !called && !destroyed);
    how = true
  }
}

/* callbacks::unset() */
inline unset() {
  is_in_inbox = false;
  atomic { was_set = is_set; is_set = false } /* cancel_timer(): the wheel is its owner's */
#ifdef WHEEL_REFERENCE_DROPPED
  was_set = true;
#endif
  if
  :: was_set -> release()
  :: else
  fi;
  release()
}

/* The owner: it is time; a message has come; the runtime closes. */
proctype owner() {
  bool mine, was_set;
  do
  :: is_set -> /* the timer is due: fire(), call() */
    is_set = false;
    take(mine);
    if
    :: mine -> end_callable(called)
    :: else
    fi;
    release()
  :: is_in_inbox -> unset()
  :: break
  od;
  is_closed = true; /* gate::close() */
#ifndef CLOSE_DOES_NOT_WAIT
  inside == 0;
#endif
  /* drop_what_is_left() */
  if
  :: is_in_inbox -> is_in_inbox = false; release() /* unset_dropped() */
  :: else
  fi;
  if
  :: is_set -> /* unfired() */
    is_set = false;
    take(mine);
    if
    :: mine -> end_callable(destroyed)
    :: else
    fi;
    release()
  :: else
  fi;
  shard_is_gone = true
}

/* callback::cancel(), on another shard. Two handles. */
proctype canceller() {
  bool mine, is_in;
  take(mine); /* discard() */
  if
  :: mine ->
    end_callable(destroyed);
#ifdef DOOR_NOT_ASKED
    is_in = true;
#else
    atomic { inside++; is_in = !is_closed } /* gate::enter() */
#endif
    if
    :: is_in ->
#ifndef MESSAGE_WITHOUT_REFERENCE
      atomic { assert(references != 0); references++ }
#endif
      atomic { assert(!shard_is_gone && references != 0 && !is_in_inbox); is_in_inbox = true } /* receive() */
    :: else
    fi;
#ifndef DOOR_NOT_ASKED
    inside--
#endif
  :: else
  fi;
  release() /* the handle */
}

init {
  atomic {
    run owner();
    run canceller();
    run canceller()
  }
  _nr_pr == 1;
  assert(called != destroyed && references == 0 && !is_set && !is_in_inbox)
}
