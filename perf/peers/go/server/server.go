// Package server has what the servers share: where they listen, and how they say so.
package server

import (
	"fmt"
	"net"
)

// Serve listens on that port of 127.0.0.1, or on one that the system chooses if it is 0, says so, and runs a goroutine for
// each connection. What newAnswer makes for a connection is called with each message before that is sent back.
func Serve(port int, newAnswer func() func(message []byte)) error {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	fmt.Printf("listening on %v\n", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go echo(connection, newAnswer())
	}
}

func echo(connection net.Conn, answer func(message []byte)) {
	defer connection.Close()
	buffer := make([]byte, 4096)
	for {
		bytes, err := connection.Read(buffer)
		if err != nil { // a client that is gone is none of ours
			return
		}
		answer(buffer[:bytes])
		if _, err := connection.Write(buffer[:bytes]); err != nil {
			return
		}
	}
}
