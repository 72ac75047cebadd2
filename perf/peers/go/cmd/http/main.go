// net/http on one processor, answering each request with a few bytes: http [-port N], ended by a signal.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
)

func main() {
	port := flag.Int("port", 7000, "0 lets the system choose")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	http.HandleFunc("/", func(to http.ResponseWriter, _ *http.Request) {
		to.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(to, "hello\n") // a client that is gone is none of ours
	})
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err == nil {
		fmt.Printf("listening on %v\n", listener.Addr())
		err = http.Serve(listener, nil)
	}
	fmt.Fprintln(os.Stderr, "http:", err)
	os.Exit(1)
}
