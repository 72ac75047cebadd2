// An echo server on one processor: echo [-port N], ended by a signal.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"

	"roving/peers/go/server"
)

func main() {
	port := flag.Int("port", 7000, "0 lets the system choose")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	err := server.Serve(*port, func() func([]byte) { return func([]byte) {} })
	fmt.Fprintln(os.Stderr, "echo:", err)
	os.Exit(1)
}
