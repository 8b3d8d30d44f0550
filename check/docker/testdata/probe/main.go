// Command probe is all that the test's container holds: it waits, is a check, or
// stands for a shell.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 0: // a check without arguments
		fmt.Println("plain")
	case args[0] == "-c": // a shell that knows one thing to do with a line
		fmt.Printf("%s was told: %s\n", os.Args[0], strings.Join(args[1:], "|"))
	case args[0] == "wait":
		fmt.Println("waits")
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
	default:
		code, err := strconv.Atoi(args[0])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(9)
		}
		fmt.Println("out")
		fmt.Fprintln(os.Stderr, "err")
		os.Exit(code)
	}
}
