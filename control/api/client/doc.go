// Package client is a client of the API. New makes one that carries a token; Check turns an answer that is a failure into an error.
//
// What ends in .gen.go is generated from openapi.yaml.
package client

//go:generate go tool -modfile=../../../hack/tools/go.mod oapi-codegen -config oapi.yaml ../openapi.yaml
