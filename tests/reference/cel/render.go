package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

func render(v ref.Val) string {
	switch x := v.(type) {
	case *types.Optional:
		if !x.HasValue() {
			return "optional.none()"
		}
		return "optional(" + render(x.GetValue()) + ")"
	case traits.Mapper:
		parts := []string{}
		for it := x.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			parts = append(parts, render(k)+": "+render(x.Get(k)))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	case traits.Lister:
		parts := []string{}
		for it := x.Iterator(); it.HasNext() == types.True; {
			parts = append(parts, render(it.Next()))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case types.String:
		return fmt.Sprintf("%q", string(x))
	case types.Null:
		return "null"
	case types.Duration:
		return "duration(" + x.Duration.String() + ")"
	case types.Timestamp:
		return "timestamp(" + x.Time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00") + ")"
	case types.Bytes:
		return fmt.Sprintf("b%q", string(x))
	}
	return fmt.Sprint(v.Value())
}
