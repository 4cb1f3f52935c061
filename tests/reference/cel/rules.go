package main

import (
	"context"
	"encoding/json"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	scel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/cel/common"
)

type RuleCase struct {
	Schema json.RawMessage `json:"schema"`
	Obj    json.RawMessage `json:"obj"`
	Old    json.RawMessage `json:"old"`
}

func runRules(c RuleCase) (res map[string]any) {
	res = map[string]any{}
	var v1 apiv1.JSONSchemaProps
	if err := json.Unmarshal(c.Schema, &v1); err != nil {
		res["bad"] = err.Error()
		return
	}
	var in apiextensions.JSONSchemaProps
	apiv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &in, nil)
	crd := &apiextensions.CustomResourceDefinition{}
	crd.Name = "foos.ex.dev"
	crd.Spec = apiextensions.CustomResourceDefinitionSpec{Group: "ex.dev", Names: apiextensions.CustomResourceDefinitionNames{Plural: "foos", Singular: "foo", Kind: "Foo", ListKind: "FooList"}, Scope: apiextensions.NamespaceScoped,
		Versions: []apiextensions.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true, Schema: &apiextensions.CustomResourceValidation{OpenAPIV3Schema: &in}}}, Conversion: &apiextensions.CustomResourceConversion{Strategy: apiextensions.NoneConverter}}
	crd.Status.StoredVersions = []string{"v1"}
	f := false
	crd.Spec.PreserveUnknownFields = &f
	defs := []string{}
	for _, e := range validation.ValidateCustomResourceDefinition(context.Background(), crd) {
		defs = append(defs, e.Error())
	}
	res["definition"] = defs
	s, err := schema.NewStructural(&in)
	if err != nil {
		return
	}
	if len(c.Obj) == 0 {
		return
	}
	var obj, old any
	utiljson.Unmarshal(c.Obj, &obj)
	opts := []scel.Option{}
	if len(c.Old) > 0 && string(c.Old) != "null" {
		utiljson.Unmarshal(c.Old, &old)
		opts = append(opts, scel.WithRatcheting(common.NewCorrelatedObject(obj, old, &model.Structural{Structural: s})))
	}
	val := scel.NewValidator(s, true, 1000000)
	errs, _ := val.Validate(context.Background(), nil, s, obj, old, 10000000, opts...)
	out := []string{}
	for _, e := range errs {
		out = append(out, e.Error())
	}
	res["errors"] = out
	return
}
