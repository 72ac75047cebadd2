// What io/poller_kqueue.cpp uses of <sys/event.h>, declared as FreeBSD's kqueue(2) describes it: so that the back-end is
// compiled, warnings and all, where there is no kqueue. Nothing is linked with this.
#pragma once
#pragma GCC system_header  // as the real one: function and type have one name

#include <cstdint>

#include <time.h>

struct kevent {
  std::uintptr_t ident;
  short filter;
  unsigned short flags;
  unsigned int fflags;
  std::int64_t data;
  void* udata;
  std::uint64_t ext[4];
};

#define EV_SET(event, a, b, c, d, e, f) \
  do {                                  \
    (event)->ident = (a);               \
    (event)->filter = (b);              \
    (event)->flags = (c);               \
    (event)->fflags = (d);              \
    (event)->data = (e);                \
    (event)->udata = (f);               \
  } while (false)

inline constexpr short EVFILT_READ = -1;
inline constexpr short EVFILT_WRITE = -2;
inline constexpr short EVFILT_USER = -11;
inline constexpr unsigned short EV_ADD = 0x0001;
inline constexpr unsigned short EV_DELETE = 0x0002;
inline constexpr unsigned short EV_ENABLE = 0x0004;
inline constexpr unsigned short EV_ONESHOT = 0x0010;
inline constexpr unsigned short EV_CLEAR = 0x0020;
inline constexpr unsigned short EV_ERROR = 0x4000;
inline constexpr unsigned short EV_EOF = 0x8000;
inline constexpr unsigned int NOTE_TRIGGER = 0x01000000;

extern "C" {
int kqueue(void);
int kevent(int queue, const struct kevent* changes, int change_count, struct kevent* events, int event_count,
           const timespec* timeout);
}
