// Package imagesapi is what the role images answers on its admin socket, and a client for it.
package imagesapi
