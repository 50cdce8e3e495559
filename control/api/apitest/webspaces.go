package apitest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/webspace"
)

// Webspaces are an api.Webspaces in memory.
type Webspaces struct {
	mu      sync.Mutex
	all     map[int]*space
	domains map[string]int  // domain -> uid, verified
	txt     map[string]bool // "domain webspace:id:3"
	images  []webspace.Image
	faults  map[string]error // by method
	watch   map[*changes]bool
	dir     string // root of all files
	next    int
	hook    func() // of Create
}

type space struct {
	webspace.Instance
	log     string
	console bool
	files   *os.Root
}

// Image is the alias, and Fingerprint the name, of the one image that there is.
const (
	Image       = "alpine"
	Fingerprint = "49189fc1b5e04a3e26ee17ad22188f397fbdb073bbbdd2c0371ddf98dbd6b81c"
)

// NewWebspaces has none yet. Files are kept in dir.
func NewWebspaces(dir string) *Webspaces {
	return &Webspaces{all: map[int]*space{}, domains: map[string]int{}, txt: map[string]bool{}, faults: map[string]error{}, watch: map[*changes]bool{}, dir: dir,
		images: []webspace.Image{{Fingerprint: Fingerprint, Aliases: []webspace.ImageAlias{{Name: Image, Description: "Alpine"}}, Properties: map[string]string{"os": "Alpine"}, Size: 2528108}}}
}

// Fail makes a method ("" is every one) fail, until err is nil.
func (w *Webspaces) Fail(method string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[method] = err
}

// TXT publishes a TXT record.
func (w *Webspaces) TXT(domain, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.txt[domain+" "+text] = true
}

func problem(kind error, what, cause string) error {
	return &webspace.Problem{What: what, Cause: cause, Kind: kind, Next: "see: lxc list"}
}

// Unavailable is what the Service says when LXD is away.
func Unavailable() error {
	return &webspace.Problem{What: "could not read webspace ws-u3", Kind: webspace.ErrUnavailable, Err: errors.New("dial unix /secret/unix.socket: connection refused")}
}

// at finds a webspace; w.mu is held.
func (w *Webspaces) at(method string, uid int) (*space, error) {
	if err := errors.Join(w.faults[""], w.faults[method]); err != nil {
		return nil, err
	}
	s := w.all[uid]
	if s == nil {
		return nil, problem(webspace.ErrNotFound, fmt.Sprintf("could not read webspace ws-u%d", uid), "")
	}
	return s, nil
}

// change changes one, and tells who watches.
func (w *Webspaces) change(method string, uid int, do func(*space) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at(method, uid)
	if err == nil {
		err = do(s)
	}
	if err == nil {
		w.tell(webspace.Change{Time: time.Now(), UID: uid, Instance: s.copy()})
	}
	return err
}

func (s *space) copy() webspace.Instance {
	i := s.Instance
	i.Record = i.Record.Clone()
	return i
}

// Get is api.Webspaces'.
func (w *Webspaces) Get(_ context.Context, uid int) (webspace.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at("Get", uid)
	if err != nil {
		return webspace.Instance{}, err
	}
	return s.copy(), nil
}

// Edit changes an instance past the API.
func (w *Webspaces) Edit(uid int, do func(*webspace.Instance)) error {
	return w.change("Edit", uid, func(s *space) error { do(&s.Instance); return nil })
}

// List is api.Webspaces'.
func (w *Webspaces) List(context.Context) ([]webspace.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.faults[""], w.faults["List"]); err != nil {
		return nil, err
	}
	var list []webspace.Instance
	for _, s := range w.all {
		list = append(list, s.copy())
	}
	slices.SortFunc(list, func(a, b webspace.Instance) int { return a.UID - b.UID })
	return list, nil
}

// Cached is api.Webspaces'. It is what List gives.
func (w *Webspaces) Cached() ([]webspace.Instance, time.Time) {
	list, err := w.List(context.Background())
	if err != nil {
		return nil, time.Time{}
	}
	return list, time.Now()
}

// Images is api.Webspaces'.
func (w *Webspaces) Images(context.Context) ([]webspace.Image, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.images, errors.Join(w.faults[""], w.faults["Images"])
}

// Create is api.Webspaces'.
func (w *Webspaces) Create(_ context.Context, spec webspace.CreateSpec, progress func(webspace.Progress)) (webspace.Instance, error) {
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	if spec.SSH && progress != nil {
		progress(webspace.Progress{Stage: "network", Text: "waiting for its address", Percent: -1})
	}
	if hook != nil {
		hook()
	}
	if progress != nil {
		progress(webspace.Progress{Stage: "image", Text: "looking for the image", Percent: 50})
		progress(webspace.Progress{Stage: "create", Text: "creating", Percent: -1})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	what := fmt.Sprintf("could not create webspace ws-u%d", spec.UID)
	switch err := errors.Join(w.faults[""], w.faults["Create"]); {
	case err != nil:
		return webspace.Instance{}, err
	case w.all[spec.UID] != nil:
		return webspace.Instance{}, problem(webspace.ErrExists, what, "")
	case spec.SSH && len(spec.SSHKeys) == 0:
		return webspace.Instance{}, problem(webspace.ErrNoSSHKey, what, "")
	case spec.Image != Image && spec.Image != Fingerprint:
		return webspace.Instance{}, problem(webspace.ErrNotFound, what, "there is no such image")
	}
	dir := fmt.Sprintf("%s/%d-%d", w.dir, spec.UID, len(w.all)+w.next)
	w.next++
	if err := os.MkdirAll(dir+"/root", 0o755); err != nil {
		return webspace.Instance{}, err
	}
	files, err := os.OpenRoot(dir)
	if err != nil {
		return webspace.Instance{}, err
	}
	n := len(w.all) + 1
	s := &space{Instance: webspace.Instance{Name: fmt.Sprintf("ws-u%d", spec.UID), UID: spec.UID, Status: webspace.Stopped, Created: time.Now(),
		Record: webspace.Record{Version: 1, User: spec.UID, Address: netip.AddrFrom4([4]byte{172, 24, 1 + byte(n>>8), byte(n)}),
			Config: webspace.Config{StartupDelay: 3, HTTPPort: 80}, Ports: webspace.Ports{}, UDPPorts: webspace.Ports{}}}, files: files}
	w.all[spec.UID] = s
	if spec.SSH {
		s.Record.Ports[w.free(webspace.TCP)] = 22
	}
	if spec.Password != "" {
		s.log = "password set\n"
	}
	w.tell(webspace.Change{Time: time.Now(), UID: spec.UID, Instance: s.copy()})
	return s.copy(), nil
}

// Delete is api.Webspaces'.
func (w *Webspaces) Delete(_ context.Context, uid int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at("Delete", uid)
	if err != nil {
		return err
	}
	delete(w.all, uid)
	for d, owner := range w.domains {
		if owner == uid {
			delete(w.domains, d)
		}
	}
	_ = s.files.Close()
	w.tell(webspace.Change{Time: time.Now(), UID: uid, Deleted: true})
	return nil
}

func (w *Webspaces) power(method string, uid int, want bool, not error, then webspace.Status) error {
	return w.change(method, uid, func(s *space) error {
		if (s.Status == webspace.Running) != want {
			return problem(not, "could not "+strings.ToLower(method)+" webspace "+s.Name, "")
		}
		s.Status = then
		return nil
	})
}

// Boot is api.Webspaces'.
func (w *Webspaces) Boot(_ context.Context, uid int) error {
	return w.power("Boot", uid, false, webspace.ErrRunning, webspace.Running)
}

// Reboot is api.Webspaces'.
func (w *Webspaces) Reboot(_ context.Context, uid int) error {
	return w.power("Reboot", uid, true, webspace.ErrNotRunning, webspace.Running)
}

// Shutdown is api.Webspaces'.
func (w *Webspaces) Shutdown(_ context.Context, uid int) error {
	return w.power("Shutdown", uid, true, webspace.ErrNotRunning, webspace.Stopped)
}

// Sync is api.Webspaces'.
func (w *Webspaces) Sync(_ context.Context, uid int) error {
	return w.change("Sync", uid, func(*space) error { return nil })
}

// EnsureStarted is api.Webspaces'.
func (w *Webspaces) EnsureStarted(_ context.Context, uid int) (at netip.Addr, err error) {
	err = w.change("EnsureStarted", uid, func(s *space) error {
		s.Status, at = webspace.Running, s.Record.Address
		return nil
	})
	return at, err
}

// State is api.Webspaces'.
func (w *Webspaces) State(_ context.Context, uid int) (webspace.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at("State", uid)
	if err != nil {
		return webspace.State{}, err
	}
	st := webspace.State{Status: s.Status, Running: s.Active(), Disks: map[string]int64{"root": 16777216}}
	if st.Running {
		st.Uptime, st.CPU, st.Memory, st.Processes = 32*time.Second, 685502875, 10452992, 8
		st.Interfaces = map[string]webspace.Interface{"eth0": {MAC: "00:16:3e:34:9a:d4", MTU: 1500, State: "up",
			Counters:  webspace.Counters{BytesReceived: 46897, BytesSent: 9910, PacketsReceived: 122, PacketsSent: 46},
			Addresses: []webspace.InterfaceAddress{{Family: "inet", Address: s.Record.Address.String(), Netmask: "16", Scope: "global"}}}}
	}
	return st, nil
}

// Samples is api.Webspaces'.
func (w *Webspaces) Samples(context.Context) ([]webspace.Sample, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []webspace.Sample
	w.next++
	for _, s := range w.all {
		list = append(list, webspace.Sample{Time: time.Now(), UID: s.UID, Status: s.Status, CPU: time.Duration(w.next) * time.Second,
			Memory: 1 << 20, Processes: 2, Received: int64(w.next) * 1000, Sent: int64(w.next) * 100})
	}
	return list, errors.Join(w.faults[""], w.faults["Samples"])
}

var _ api.Webspaces = (*Webspaces)(nil)

// Rename gives a webspace to another uid.
func (w *Webspaces) Rename(from, to int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.at("Rename", from)
	if err == nil {
		delete(w.all, from)
		s.UID, s.Record.User, s.Name = to, to, "ws-u"+itoa(to)
		w.all[to] = s
	}
	return err
}

// BeforeCreate runs do at the beginning of every Create.
func (w *Webspaces) BeforeCreate(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = do
}
