// Package main answers what Kubernetes's own libraries make of expressions and validation rules in CEL.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	scel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

type Case struct {
	Schema  json.RawMessage `json:"schema"`
	Self    json.RawMessage `json:"self"`
	OldSelf json.RawMessage `json:"oldSelf"`
	Expr    string          `json:"expr"`
	Root    bool            `json:"root"`
}

func main() {
	set := environment.MustBaseEnvSet(version.MajorMinor(1, 34), true)
	env := set.StoredExpressionsEnv()
	if len(os.Args) > 1 && os.Args[1] == "functions" {
		names := []string{}
		for n := range env.Functions() {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			for _, o := range env.Functions()[n].OverloadDecls() {
				args := []string{}
				for _, a := range o.ArgTypes() {
					args = append(args, a.String())
				}
				kind := "f"
				if o.IsMemberFunction() {
					kind = "m"
				}
				fmt.Printf("%s|%s|%s|%s|%s\n", n, o.ID(), kind, strings.Join(args, ";"), o.ResultType().String())
			}
		}
		for _, m := range env.Macros() {
			fmt.Println("macro", m.Function(), m.MacroKey())
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "rules" {
		dec := json.NewDecoder(os.Stdin)
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		for {
			var c RuleCase
			if dec.Decode(&c) != nil {
				return
			}
			enc.Encode(runRules(c))
		}
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<22)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var c Case
			if e := json.Unmarshal(line, &c); e != nil {
				panic(e)
			}
			r := run(set, c)
			b, _ := json.Marshal(r)
			out.Write(b)
			out.WriteByte('\n')
		}
		if err != nil {
			break
		}
	}
}

func run(set *environment.EnvSet, c Case) (res map[string]any) {
	res = map[string]any{}
	defer func() {
		if e := recover(); e != nil {
			res["panic"] = fmt.Sprint(e)
		}
	}()
	var v1 apiv1.JSONSchemaProps
	if err := json.Unmarshal(c.Schema, &v1); err != nil {
		res["bad"] = err.Error()
		return
	}
	var in apiextensions.JSONSchemaProps
	if err := apiv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &in, nil); err != nil {
		res["bad"] = err.Error()
		return
	}
	s, err := schema.NewStructural(&in)
	if err != nil {
		res["bad"] = err.Error()
		return
	}
	decl := model.SchemaDeclType(s, c.Root)
	if decl == nil {
		res["bad"] = "no decl"
		return
	}
	decl = decl.MaybeAssignTypeName("selfType")
	es, err := set.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        []cel.EnvOption{cel.Variable("self", decl.CelType()), cel.Variable("oldSelf", decl.CelType())},
		DeclTypes:         []*apiservercel.DeclType{decl},
	})
	if err != nil {
		res["bad"] = err.Error()
		return
	}
	env := es.StoredExpressionsEnv()
	ast, iss := env.Compile(c.Expr)
	if iss != nil {
		res["compile"] = iss.String()
		return
	}
	res["type"] = ast.OutputType().String()
	rule := *s
	rule.XValidations = apiv1.ValidationRules{{Rule: c.Expr}}
	cr, err := scel.Compile(&rule, decl, 1000000, set, scel.StoredExpressionsEnvLoader())
	if err == nil && len(cr) == 1 {
		res["max"] = fmt.Sprint(cr[0].MaxCost)
		res["card"] = fmt.Sprint(cr[0].MaxCardinality)
	}
	prog, err := env.Program(ast, cel.CostLimit(1000000), cel.CostTracking(&library.CostEstimator{}))
	if err != nil {
		res["program"] = err.Error()
		return
	}
	sts := s
	if c.Root {
		sts = model.WithTypeAndObjectMeta(s)
	}
	act := map[string]any{}
	var self, old any
	if len(c.Self) > 0 {
		utiljson.Unmarshal(c.Self, &self)
	}
	act["self"] = scel.UnstructuredToVal(self, sts)
	if len(c.OldSelf) > 0 {
		utiljson.Unmarshal(c.OldSelf, &old)
		act["oldSelf"] = scel.UnstructuredToVal(old, sts)
	}
	v, det, err := prog.ContextEval(context.Background(), act)
	if det != nil && det.ActualCost() != nil {
		res["cost"] = *det.ActualCost()
	}
	if err != nil {
		res["error"] = err.Error()
		return
	}
	res["vtype"] = fmt.Sprint(v.Type().TypeName())
	switch v.Type() {
	case types.BoolType, types.IntType, types.UintType, types.DoubleType, types.StringType:
		res["value"] = fmt.Sprint(v.Value())
	default:
		// via the CEL format function's rendering
		res["value"] = render(v)
	}
	return
}
