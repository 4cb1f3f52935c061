// A tour of client-go against one API server, and real protobuf bodies for the tests of our decoder.
//
//	goclient tour KUBECONFIG NAMESPACE    prints "ok <step>" per step, ends with 1 at the first failure
//	goclient encode SEEDS                 prints one JSON line per kind and seed
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "tour" {
		if err := tour(os.Args[2], os.Args[3]); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "encode" {
		seeds, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = encodeAll(seeds)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "failed:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "usage: goclient tour KUBECONFIG NAMESPACE | encode SEEDS")
	os.Exit(2)
}
