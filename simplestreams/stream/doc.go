// Package stream holds the two JSON documents of the simplestreams protocol as LXD and Incus read them: streams/v1/index.json
// and streams/v1/images.json (format "products:1.0").
package stream
