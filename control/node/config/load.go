package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envPrefix = "LANYARD_"
	maxFile   = 1 << 20 // bytes; a longer file is a mistake
)

// notSettings are names and prefixes in the environment that belong to other parts of Lanyard.
var notSettings = []string{"LANYARD_CONFIG", "LANYARD_SOCKET", "LANYARD_LAB_", "LANYARD_TEST_",
	"LANYARD_SERVER", "LANYARD_TOKEN", "LANYARD_CREDENTIALS"}

// Sources are where a configuration is read from. The zero value gives the defaults.
type Sources struct {
	File    string         // YAML; "" is none
	Environ []string       // as os.Environ gives it
	Flags   *pflag.FlagSet // made by Flags; only those that were set count
}

// Load reads the configuration, and refuses what it does not know. It does not look at the machine: see Resolve.
func Load(from Sources) (Config, error) {
	if from.File == "" {
		return parse(nil, from)
	}
	text, err := readFile(from.File)
	if err != nil {
		return Config{}, err
	}
	return parse(text, from)
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("it is no regular file of at most %d bytes", maxFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, &Error{What: "cannot read the configuration file " + name, Cause: err.Error(),
			Next: "give another with --config, or leave that out to use the defaults", Err: err}
	}
	return text, nil
}

// Parse is Load with the text of the file in place of its name.
func Parse(text []byte, from Sources) (Config, error) { return parse(text, from) }

func parse(text []byte, from Sources) (Config, error) {
	k := koanf.NewWithConf(koanf.Conf{Delim: ".", StrictMerge: false})
	origin := make(map[string]string) // key -> where its value came from, for messages
	layer := func(where string, load func(*koanf.Koanf) error) error {
		l := koanf.New(".")
		if err := load(l); err != nil {
			return &Error{What: "cannot read " + where, Cause: err.Error(), Next: showKeys, Err: err}
		}
		if err := checkKeys(l, where); err != nil {
			return err
		}
		for _, key := range l.Keys() {
			origin[key] = where
		}
		return k.Merge(l)
	}
	file := "the configuration file"
	if from.File != "" {
		file += " " + from.File
	}
	if err := layer(file, func(l *koanf.Koanf) error {
		if len(text) == 0 {
			return nil
		}
		return l.Load(document(text), yaml.Parser())
	}); err != nil {
		return Config{}, err
	}
	environ, err := fromEnvironment(from.Environ)
	if err != nil {
		return Config{}, err
	}
	if err := layer("the environment", func(l *koanf.Koanf) error { return l.Load(environ, nil) }); err != nil {
		return Config{}, err
	}
	if from.Flags != nil {
		if err := layer("the flags", func(l *koanf.Koanf) error { return l.Load(fromFlags(from.Flags, l), nil) }); err != nil {
			return Config{}, err
		}
	}
	return decode(k, origin)
}

// document is a YAML text as a provider.
type document []byte

func (d document) ReadBytes() ([]byte, error)    { return d, nil }
func (d document) Read() (map[string]any, error) { return nil, errors.New("a document is only bytes") }

// decode fills a Config, beginning with the defaults.
func decode(k *koanf.Koanf, origin map[string]string) (Config, error) {
	c := Default()
	err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		TagName: "koanf", Result: &c, WeaklyTypedInput: true, ErrorUnused: true, ZeroFields: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			onlyScalars, listFromText, emptyIsNone, mapstructure.StringToTimeDurationHookFunc(), mapstructure.TextUnmarshallerHookFunc()),
	}})
	if err == nil {
		return c, nil
	}
	return Config{}, explain(err, origin)
}

// explain names the settings that could not be decoded.
func explain(err error, origin map[string]string) error {
	var what []string
	for _, one := range flatten(err) {
		var d *mapstructure.DecodeError
		if errors.As(one, &d) {
			key := d.Name()
			cause := d.Unwrap()
			where := origin[key]
			if where == "" {
				where = "the configuration"
			}
			what = append(what, fmt.Sprintf("%s in %s: %v", key, where, cause))
			continue
		}
		what = append(what, one.Error())
	}
	slices.Sort(what)
	return &Error{What: "cannot use the configuration", Cause: strings.Join(what, "; "), Next: showKeys, Err: err}
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, one := range many.Unwrap() {
			out = append(out, flatten(one)...)
		}
		return out
	}
	var joined interface{ Unwrap() []error }
	if _, ok := errors.AsType[*mapstructure.DecodeError](err); !ok && errors.As(err, &joined) {
		return flatten(joined.(error))
	}
	return []error{err}
}

// listFromText reads "a,b" as a list, and a list of peers as YAML.
func listFromText(from, to reflect.Type, data any) (any, error) {
	if from.Kind() != reflect.String || to.Kind() != reflect.Slice || to == reflect.TypeFor[MAC]() {
		return data, nil
	}
	text := strings.TrimSpace(data.(string))
	if text == "" {
		return []any{}, nil
	}
	if to == reflect.TypeFor[[]Peer]() {
		parsed, err := yaml.Parser().Unmarshal([]byte("list: " + text))
		if err != nil {
			return nil, fmt.Errorf("no list of peers: %w", err)
		}
		return parsed["list"], nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts, nil
}

// onlyScalars refuses what the decoder's weak typing would otherwise bend into shape: a YAML yes for a number, a
// number for a name, seconds without a unit.
func onlyScalars(from, to reflect.Type, data any) (any, error) {
	number := from.Kind() == reflect.Int || from.Kind() == reflect.Int64 || from.Kind() == reflect.Uint64 || from.Kind() == reflect.Float64
	switch {
	case kindOf(to) == "duration" && from.Kind() != reflect.String && from != to:
		return nil, fmt.Errorf("%v is no duration: write a unit, such as 10s", data)
	case to == reflect.TypeFor[PortRange]() && number:
		return fmt.Sprint(data), nil
	case from.Kind() == reflect.Bool && to.Kind() != reflect.Bool && to.Kind() != reflect.Interface,
		from.Kind() != reflect.Bool && from.Kind() != reflect.String && to.Kind() == reflect.Bool,
		from.Kind() == reflect.Float64 && to.Kind() != reflect.Interface,
		number && to.Kind() == reflect.String:
		return nil, fmt.Errorf("%v is of the wrong kind: %s is expected", data, kindOf(to))
	case from.Kind() == reflect.String && kindOf(to) == "number" && strings.TrimSpace(data.(string)) == "":
		return nil, errors.New("nothing is given where a number is expected")
	case data == nil:
		return nil, errors.New("it has no value")
	}
	return data, nil
}

// emptyIsNone reads "" as the zero address or prefix: "found out by itself".
func emptyIsNone(from, to reflect.Type, data any) (any, error) {
	if from.Kind() == reflect.String && data.(string) == "" && to.Kind() == reflect.Struct {
		return reflect.Zero(to).Interface(), nil
	}
	return data, nil
}

// fromEnvironment picks the settings out of an environment; an unknown LANYARD_ name is an error.
func fromEnvironment(environ []string) (*env.Env, error) {
	byEnv := make(map[string]string)
	var names []string
	for _, k := range Keys() {
		byEnv[k.Env] = k.Path
		names = append(names, k.Env)
	}
	var mine []string
next:
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		for _, other := range notSettings {
			if name == other || strings.HasSuffix(other, "_") && strings.HasPrefix(name, other) {
				continue next
			}
		}
		if byEnv[name] == "" {
			return nil, unknown(name, "the environment", names)
		}
		mine = append(mine, pair)
	}
	return env.Provider(".", env.Opt{Prefix: envPrefix, EnvironFunc: func() []string { return mine },
		TransformFunc: func(name, value string) (string, any) { return byEnv[name], value }}), nil
}

// fromFlags picks the flags that were set.
func fromFlags(flags *pflag.FlagSet, k *koanf.Koanf) *posflag.Posflag {
	byFlag := make(map[string]string)
	for _, key := range Keys() {
		byFlag[key.Flag] = key.Path
	}
	return posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		if !f.Changed {
			return "", nil
		}
		return byFlag[f.Name], f.Value.String()
	})
}

// Flags adds a flag for every key. All are texts: they are read as in the environment.
func Flags(flags *pflag.FlagSet) {
	for _, k := range Keys() {
		usage := strings.TrimSuffix(k.Doc, ".") + " [" + k.Path + "]"
		if k.Default != "" {
			usage += " (default " + k.Default + ")"
		}
		flags.String(k.Flag, "", usage)
	}
}

// checkKeys refuses keys that do not exist.
func checkKeys(k *koanf.Koanf, where string) error {
	var known []string
	for _, key := range Keys() {
		known = append(known, key.Path)
	}
	groups := make(map[string]bool)
	for _, s := range Sections() {
		groups[s.Name] = true
	}
	for _, key := range k.Keys() { // sorted
		if slices.Contains(known, key) {
			continue
		}
		if groups[key] { // "lan:" with nothing under it is harmless, a value is not
			if k.Get(key) == nil {
				k.Delete(key)
				continue
			}
			if m, ok := k.Get(key).(map[string]any); ok && len(m) == 0 {
				continue
			}
			return &Error{What: "cannot use " + key + " in " + where, Cause: "it is a group of settings, not one",
				Next: "write them below it: " + nearest(key+".", known) + ": ..."}
		}
		return unknown(key, where, known)
	}
	peers, _ := k.Get("peers.list").([]any)
	var inPeer []string
	for _, p := range PeerKeys() {
		inPeer = append(inPeer, p.Path)
	}
	for i, p := range peers {
		fields, ok := p.(map[string]any)
		if !ok {
			return &Error{What: fmt.Sprintf("cannot use peers.list[%d] in %s", i, where), Cause: "a peer is a group of settings, at least vtep", Next: showKeys}
		}
		for _, name := range slices.Sorted(mapKeys(fields)) {
			if !slices.Contains(inPeer, name) {
				return unknown(fmt.Sprintf("peers.list[%d].%s", i, name), where, prefixed(fmt.Sprintf("peers.list[%d].", i), inPeer))
			}
		}
	}
	return nil
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func prefixed(p string, list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = p + s
	}
	return out
}

func unknown(key, where string, known []string) error {
	return &Error{What: fmt.Sprintf("unknown setting %q in %s", key, where), Cause: "there is no such key; the nearest is " + nearest(key, known),
		Next: showKeys}
}

// nearest is the known key with the smallest edit distance.
func nearest(key string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int {
		return levenshtein.Distance(key, a, nil) - levenshtein.Distance(key, b, nil)
	})
}
