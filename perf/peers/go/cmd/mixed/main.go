// An echo server whose requests compute: as mixed.cpp, whose options it has.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"roving/peers/go/server"
)

func nextRandom(state uint64) uint64 {
	state ^= state << 13
	state ^= state >> 7
	state ^= state << 17
	return state
}

func main() {
	port := flag.Int("port", 7000, "0 lets the system choose")
	threads := flag.Int("threads", 2, "GOMAXPROCS")
	rounds := flag.Uint64("rounds", 0, "of work for each request")
	stallPercent := flag.Uint64("stall-percent", 0, "requests of a hundred that take other work instead")
	stallRounds := flag.Uint64("stall-rounds", 0, "that work")
	flag.Parse()
	runtime.GOMAXPROCS(*threads)
	var connections atomic.Uint64
	err := server.Serve(*port, func() func([]byte) {
		random := connections.Add(1)
		return func([]byte) {
			random = nextRandom(random)
			left := *rounds
			if random>>32%100 < *stallPercent {
				left = *stallRounds
			}
			state := random
			for range left {
				state = nextRandom(state)
			}
			random = state
		}
	})
	fmt.Fprintln(os.Stderr, "mixed:", err)
	os.Exit(1)
}
