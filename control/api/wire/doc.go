// Package wire holds the types of the API, as JSON carries them.
//
// What ends in .gen.go is generated from openapi.yaml.
package wire

//go:generate go tool -modfile=../../../hack/tools/go.mod oapi-codegen -config oapi.yaml ../openapi.yaml
