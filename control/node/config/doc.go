// Package config is what a node's daemon is configured with.
//
// Every setting has one key, such as lan.prefix. It is looked for in four places, the later ones win: the default, the
// YAML file, the environment (LANYARD_LAN_PREFIX), the flags (--lan-prefix). Config's struct tags are the only list of
// keys: flags, environment names, the reference page and the check for unknown keys are all made from them. A key that
// does not exist is an error that names the nearest one.
//
// Load gives what was written; Config.Resolve looks at the machine for what was left open (interfaces and addresses)
// and checks that it fits together.
package config
