package manage

// For tests from outside, which need an implementation of Manager.
var (
	HandlerOf = handler
	CallOf    = (*Client).call
)

// SocketOf is where a client calls.
func SocketOf(c *Client) string { return c.socket }
