module knarr.dev/tests/reference/cel

go 1.24

require (
	github.com/google/cel-go v0.26.0
	k8s.io/apiextensions-apiserver v0.34.3
	k8s.io/apimachinery v0.34.3
	k8s.io/apiserver v0.34.3
)
