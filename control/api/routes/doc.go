// Package routes binds the operations of the API to a http.ServeMux: the paths, and the parameters in them.
//
// What ends in .gen.go is generated from openapi.yaml.
package routes

//go:generate go tool -modfile=../../../hack/tools/go.mod oapi-codegen -config oapi.yaml ../openapi.yaml
