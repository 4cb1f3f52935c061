// Checks that what clients saw of a store could have happened one operation after the other.
//
// Standard input: one JSON document per life of the server, {"number", "initial", "operations"}. Standard output: one line
// per life that could not have happened; the exit status is 1 if there is one, 2 if a check took too long.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	maxKeys = 8
	timeout = 2 * time.Minute
)

// item is one object as a read shows it.
type item struct {
	Key   int    `json:"key"`
	Value string `json:"value"`
	RV    int64  `json:"rv"`
}

// operation is one request and what came back; Outcome "lost" means that the server died before it answered.
type operation struct {
	Client  int    `json:"client"`
	Kind    string `json:"kind"`
	Key     int    `json:"key"`
	Value   string `json:"value"`
	Expect  int64  `json:"expect"`
	Call    int64  `json:"call"`
	Return  int64  `json:"return"`
	Outcome string `json:"outcome"`
	RV      int64  `json:"rv"`
	Items   []item `json:"items"`
}

type life struct {
	Number  int `json:"number"`
	Initial struct {
		RV    int64  `json:"rv"`
		Items []item `json:"items"`
	} `json:"initial"`
	Operations []operation `json:"operations"`
}

// cell is one object. A version of 0 is unknown yet, but newer than Above.
type cell struct {
	Present bool
	Value   string
	RV      int64
	Above   int64
}

// state is the whole store; every later write gets a version above Newest.
type state struct {
	Cells  [maxKeys]cell
	Newest int64
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), 1<<30)
	exit := 0
	for input.Scan() {
		var one life
		if err := json.Unmarshal(input.Bytes(), &one); err != nil {
			fmt.Println("malformed input:", err)
			os.Exit(3)
		}
		switch check(&one) {
		case porcupine.Illegal:
			fmt.Printf("life %d: no order of its %d operations explains what was seen\n", one.Number, len(one.Operations))
			exit = 1
		case porcupine.Unknown:
			fmt.Printf("life %d: not decided within %v\n", one.Number, timeout)
			if exit == 0 {
				exit = 2
			}
		}
	}
	os.Exit(exit)
}

func check(one *life) porcupine.CheckResult {
	history := make([]porcupine.Operation, 0, len(one.Operations))
	for i := range one.Operations {
		op := &one.Operations[i]
		history = append(history, porcupine.Operation{
			ClientId: op.Client, Input: op, Output: op, Call: op.Call, Return: op.Return,
		})
	}
	model := porcupine.NondeterministicModel{
		Init: func() []interface{} {
			first := state{Newest: one.Initial.RV}
			for _, it := range one.Initial.Items {
				first.Cells[it.Key] = cell{Present: true, Value: it.Value, RV: it.RV}
			}
			return []interface{}{first}
		},
		Step: func(current, input, _ interface{}) []interface{} {
			return step(current.(state), input.(*operation))
		},
	}
	return porcupine.CheckOperationsTimeout(model.ToModel(), history, timeout)
}

// step lists the states that an operation can lead to; none if it cannot have had this outcome.
func step(s state, op *operation) []interface{} {
	switch op.Kind {
	case "get":
		return read(s, op)
	case "list":
		return list(s, op)
	default:
		return write(s, op)
	}
}

func read(s state, op *operation) []interface{} {
	found := s.Cells[op.Key]
	if op.Outcome == "absent" {
		return only(s, !found.Present)
	}
	next, fits := see(s, item{Key: op.Key, Value: op.Value, RV: op.RV})
	return only(next, fits)
}

func list(s state, op *operation) []interface{} {
	var listed [maxKeys]bool
	for _, it := range op.Items {
		listed[it.Key] = true
		next, fits := see(s, it)
		if !fits {
			return nil
		}
		s = next
	}
	for key := range s.Cells {
		if s.Cells[key].Present && !listed[key] {
			return nil
		}
	}
	if op.RV < s.Newest {
		return nil
	}
	s.Newest = op.RV
	return only(s, true)
}

// see compares an object with what a read showed, and learns its version.
func see(s state, it item) (state, bool) {
	found := &s.Cells[it.Key]
	if !found.Present || found.Value != it.Value {
		return s, false
	}
	next, fits := learn(s, it.Key, it.RV)
	return next, fits
}

// learn notes the version of an object, if it can be that.
func learn(s state, key int, rv int64) (state, bool) {
	found := &s.Cells[key]
	if found.RV == 0 {
		if rv <= found.Above {
			return s, false
		}
		found.RV = rv
		if rv > s.Newest {
			s.Newest = rv
		}
	}
	return s, found.RV == rv
}

func write(s state, op *operation) []interface{} {
	found := s.Cells[op.Key]
	switch op.Outcome {
	case "exists":
		return only(s, found.Present)
	case "absent":
		return only(s, !found.Present)
	case "conflict":
		return only(s, found.Present && found.RV != op.Expect)
	case "ok":
		next, fits := effect(s, op)
		return only(next, fits)
	case "lost":
		states := []interface{}{s}
		if next, fits := effect(s, op); fits {
			states = append(states, next)
		}
		return states
	}
	return nil
}

// effect is the state after a write that was carried out, if it could be.
func effect(s state, op *operation) (state, bool) {
	if op.Kind == "create" {
		if s.Cells[op.Key].Present {
			return s, false
		}
	} else {
		if !s.Cells[op.Key].Present {
			return s, false
		}
		if op.Expect != 0 {
			next, fits := learn(s, op.Key, op.Expect)
			if !fits {
				return s, false
			}
			s = next
		}
	}
	if op.Kind == "delete" {
		s.Cells[op.Key] = cell{}
		return s, true
	}
	if op.RV != 0 && op.RV <= s.Newest {
		return s, false
	}
	s.Cells[op.Key] = cell{Present: true, Value: op.Value, RV: op.RV, Above: s.Newest}
	if op.RV != 0 {
		s.Cells[op.Key].Above = 0
		s.Newest = op.RV
	}
	return s, true
}

func only(s state, fits bool) []interface{} {
	if !fits {
		return nil
	}
	return []interface{}{s}
}
