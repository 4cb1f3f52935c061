package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

// filler puts values into everything that can hold one; seed 0 fills all, others leave parts empty.
type filler struct {
	random *rand.Rand
	whole  bool
	count  int
}

func (f *filler) skip() bool { return !f.whole && f.random.Intn(3) == 0 }

func (f *filler) number() int {
	f.count++
	if !f.whole && f.random.Intn(4) == 0 {
		return 0
	}
	return f.count % 120
}

func (f *filler) text() string {
	if !f.whole && f.random.Intn(5) == 0 {
		return ""
	}
	f.count++
	return fmt.Sprintf("s%d", f.count)
}

func (f *filler) special(value reflect.Value) bool {
	at := time.Unix(1700000000+int64(f.number()), 0).UTC()
	switch target := value.Addr().Interface().(type) {
	case *metav1.Time:
		*target = metav1.NewTime(at)
	case *metav1.MicroTime:
		*target = metav1.NewMicroTime(at.Add(time.Duration(f.number()) * time.Microsecond))
	case *metav1.Duration:
		target.Duration = time.Duration(f.number()) * time.Second
	case *resource.Quantity:
		*target = resource.MustParse([]string{"1500m", "2Gi", "0", "3", "1e3"}[f.random.Intn(5)])
	case *intstr.IntOrString:
		if f.random.Intn(2) == 0 {
			*target = intstr.FromInt32(int32(f.number()))
		} else {
			*target = intstr.FromString("p" + f.text())
		}
	case *runtime.RawExtension:
		target.Raw = []byte(`{"raw":[1,"x",null]}`)
	case *metav1.FieldsV1:
		target.Raw = []byte(`{"f:spec":{".":{}}}`)
	case *apiextensions.JSON:
		target.Raw = []byte([]string{`{"a":1}`, `"text"`, `[1,2]`, `true`, `1.5`}[f.random.Intn(5)])
	case *apiextensions.JSONSchemaPropsOrBool:
		if f.random.Intn(2) == 0 {
			target.Allows = f.random.Intn(2) == 0
		} else {
			target.Allows = true
			target.Schema = &apiextensions.JSONSchemaProps{Type: "string"}
		}
	case *apiextensions.JSONSchemaPropsOrArray:
		target.Schema = &apiextensions.JSONSchemaProps{Type: "integer"}
	case *apiextensions.JSONSchemaPropsOrStringArray:
		target.Property = []string{"a", "b"}
	default:
		return false
	}
	return true
}

func (f *filler) fill(value reflect.Value, depth int) {
	if value.CanAddr() && f.special(value) {
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(f.text())
	case reflect.Bool:
		value.SetBool(f.whole || f.random.Intn(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value.SetInt(int64(f.number()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value.SetUint(uint64(f.number()))
	case reflect.Float32, reflect.Float64:
		value.SetFloat(float64(f.number()) + 0.5*float64(f.random.Intn(2)))
	case reflect.Ptr:
		if depth > 12 || f.skip() {
			return
		}
		value.Set(reflect.New(value.Type().Elem()))
		f.fill(value.Elem(), depth+1)
	case reflect.Slice:
		f.slice(value, depth)
	case reflect.Map:
		if depth > 12 || f.skip() {
			return
		}
		made := reflect.MakeMap(value.Type())
		for range 2 {
			key := reflect.New(value.Type().Key()).Elem()
			key.SetString("k" + fmt.Sprint(f.count))
			item := reflect.New(value.Type().Elem()).Elem()
			f.fill(item, depth+1)
			f.count++
			made.SetMapIndex(key, item)
		}
		value.Set(made)
	case reflect.Struct:
		f.structure(value, depth)
	}
}

func (f *filler) slice(value reflect.Value, depth int) {
	if depth > 12 || f.skip() {
		return
	}
	if value.Type().Elem().Kind() == reflect.Uint8 {
		value.SetBytes([]byte{0, 1, 254, 255})
		return
	}
	made := reflect.MakeSlice(value.Type(), 2, 2)
	for index := range 2 {
		f.fill(made.Index(index), depth+1)
	}
	value.Set(made)
}

func (f *filler) structure(value reflect.Value, depth int) {
	if value.Type() == reflect.TypeOf(apiextensions.JSONSchemaProps{}) && depth > 8 {
		value.Addr().Interface().(*apiextensions.JSONSchemaProps).Type = "object"
		return
	}
	for index := range value.NumField() {
		field := value.Type().Field(index)
		if field.PkgPath == "" && field.Type != reflect.TypeOf(metav1.TypeMeta{}) {
			f.fill(value.Field(index), depth+1)
		}
	}
}

func encodeAll(seeds int) error {
	types := runtime.NewScheme()
	if err := scheme.AddToScheme(types); err != nil {
		return err
	}
	if err := apiextensions.AddToScheme(types); err != nil {
		return err
	}
	kinds := make([]schema.GroupVersionKind, 0)
	for kind := range types.AllKnownTypes() {
		if kind.Version != runtime.APIVersionInternal && !strings.HasSuffix(kind.Kind, "List") {
			kinds = append(kinds, kind)
		}
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].String() < kinds[j].String() })
	serializer := protobuf.NewSerializer(types, types)
	out := json.NewEncoder(os.Stdout)
	for _, kind := range kinds {
		for seed := range seeds {
			object, err := types.New(kind)
			if err != nil {
				return err
			}
			f := &filler{random: rand.New(rand.NewSource(int64(seed))), whole: seed == 0}
			f.fill(reflect.ValueOf(object).Elem(), 0)
			object.GetObjectKind().SetGroupVersionKind(kind)
			var encoded bytes.Buffer
			if err := serializer.Encode(object, &encoded); err != nil {
				continue // Not a kind of this encoding.
			}
			plain, err := json.Marshal(object)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			line := map[string]any{
				"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind, "seed": seed,
				"protobuf": base64.StdEncoding.EncodeToString(encoded.Bytes()), "json": json.RawMessage(plain),
			}
			if err := out.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}
