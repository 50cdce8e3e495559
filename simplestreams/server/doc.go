// Package server serves a library of images over HTTP, as LXD and Incus ask for them:
//
//	GET /OWNER/NAME/streams/v1/index.json
//	GET /OWNER/NAME/streams/v1/images.json
//	GET /OWNER/NAME/images/IMAGE/ARCH/vVERSION/FILE
//	GET /OWNER/NAME/IMAGE[/vVERSION]      `lxc image import URL`, of a unified image
//	    /health
//
// Everything has HEAD; errors are problem+json (RFC 9457) with the seed's "message". See docs/reference/images.md.
package server
