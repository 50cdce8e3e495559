package webspace

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lxc/incus/shared/api"
)

// List returns the webspaces of the whole cluster, in no particular order, in one request. A record that cannot be
// read is in RecordErr of that instance; the rest is not affected. The instances of a member that does not answer are
// there with Status Errored, and with a RecordErr of kind ErrUnavailable, because LXD then knows only their names.
//
// After a member died LXD needs up to 20 s for the first answer; ListLocal does not wait for other members.
func (s *Store) List(ctx context.Context) ([]Instance, error) {
	return s.list(ctx, userAgent, "list the webspaces")
}

// localAgent makes LXD leave out the other members: by this name its members ask each other. It is the only way to
// ask a clustered LXD for just its own instances, without waiting for a dead neighbour. LXD believes it on its socket
// (5.0; a standalone LXD and Incus ignore it and return all that they have, which is right as well).
const localAgent = "lxd-cluster-notifier"

// ListLocal is List for the member that this Store talks to. It may contain more than that; Node tells. Over HTTPS it
// always does, and is as slow as List: there LXD believes localAgent only of its own members.
func (s *Store) ListLocal(ctx context.Context) ([]Instance, error) {
	agent := localAgent
	if s.socket == "" {
		agent = userAgent
	}
	return s.list(ctx, agent, "list the webspaces of this node")
}

func (s *Store) list(ctx context.Context, agent, what string) ([]Instance, error) {
	resp, _, err := s.request(ctx, agent, what, "GET", "/1.0/instances", url.Values{"recursion": {"1"}}, nil, "")
	if err != nil {
		return nil, err
	}
	var all []api.Instance
	if err := json.Unmarshal(resp.Metadata, &all); err != nil {
		return nil, &Problem{What: "could not " + what, Cause: "LXD's answer cannot be read: " + err.Error(), Next: "compare versions: lxd --version", Err: err}
	}
	list := make([]Instance, 0, len(all))
	for n := range all {
		if i, ok := s.instance(&all[n]); ok {
			list = append(list, i)
		}
	}
	return list, nil
}

// Get returns one webspace, or ErrNotFound.
func (s *Store) Get(ctx context.Context, name string) (Instance, error) {
	i, _, err := s.find(ctx, name)
	return i, err
}

func (s *Store) find(ctx context.Context, name string) (Instance, string, error) {
	path, err := s.path(name)
	if err != nil {
		return Instance{}, "", err
	}
	var raw api.Instance
	etag, err := s.get(ctx, "read webspace "+name, path, nil, &raw)
	if err != nil {
		return Instance{}, "", err
	}
	i, ok := s.instance(&raw)
	if !ok {
		return Instance{}, "", &Problem{What: name + " is not a webspace", Cause: "it is not a container", Next: "see what there is: lxc list", Kind: ErrNotFound}
	}
	return i, etag, nil
}

// path of an instance in the API. Only names of webspaces are let through: nothing else may be read or changed.
func (s *Store) path(name string) (string, error) {
	if _, ok := parseName(s.o.Prefix, name); !ok {
		return "", &Problem{
			What: "this is not the name of a webspace", Cause: "the names are " + s.o.Prefix + "u<uid>",
			Next: "see what there is: lxc list", Kind: ErrInvalid,
		}
	}
	return "/1.0/instances/" + name, nil
}

// instance translates; ok is false for an instance that is no webspace.
func (s *Store) instance(raw *api.Instance) (i Instance, ok bool) {
	uid, ok := parseName(s.o.Prefix, raw.Name)
	if !ok || (raw.Type != "" && raw.Type != string(api.InstanceTypeContainer)) {
		return Instance{}, false
	}
	i = Instance{Name: raw.Name, UID: uid, Node: raw.Location, Status: Status(raw.Status), Created: raw.CreatedAt}
	if i.Node == "none" { // LXD's word for "not clustered"
		i.Node = ""
	}
	if raw.Config == nil && raw.StatusCode == api.Error {
		i.RecordErr = &Problem{
			What: "nothing is known about " + i.Name, Cause: "its cluster member " + i.Node + " does not answer",
			Next: "see: lxc cluster list", Kind: ErrUnavailable,
		}
		return i, true
	}
	if raw.LastUsedAt.Unix() > 0 { // LXD's "never" is the epoch
		i.Started = raw.LastUsedAt
	}
	i.Purpose, i.building = raw.Config[PurposeKey], raw.Config[buildingKey]
	if i.RawLXC = raw.Config[rawLXCKey]; i.RawLXC == "" {
		i.RawLXC = raw.ExpandedConfig[rawLXCKey]
	}
	i.HeldUntil = until(raw.Config[HeldKey])
	if b := until(i.building); b.After(i.HeldUntil) {
		i.HeldUntil = b
	}
	i.Record, i.Imported, i.RecordErr = Decode(raw.Config)
	if i.RecordErr == nil && i.Record.User != uid {
		i.RecordErr = wrongUser(i.Name, uid, i.Record)
	}
	var p *Problem
	if errors.As(i.RecordErr, &p) && p.What == "the record cannot be used" {
		p.What, p.Next = "the record of "+i.Name+" cannot be used", strings.ReplaceAll(p.Next, "<instance>", i.Name)
	}
	i.OOMSkip = i.Record.Config.Idle.OOMSkip || truthy(raw.Config[OOMSkipKey]) || truthy(raw.ExpandedConfig[OOMSkipKey])
	eth0 := raw.ExpandedDevices["eth0"]
	if eth0["type"] == "nic" {
		i.NICType = eth0["nictype"]
		i.HostInterface = raw.Config["volatile.eth0.host_name"]
		i.MAC = parseMAC(eth0["hwaddr"])
		if i.MAC == nil {
			i.MAC = parseMAC(raw.Config["volatile.eth0.hwaddr"])
		}
		i.MTU, _ = strconv.Atoi(eth0["mtu"])
		i.plainNIC = plainNIC(eth0)
	}
	s.readVeth(&i, eth0)
	return i, true
}

// plainNIC says whether a NIC has no settings but those of nic.
func plainNIC(eth0 map[string]string) bool {
	for key := range eth0 {
		switch key {
		case "type", "nictype", "name", "hwaddr", "mtu":
		default:
			return false
		}
	}
	return eth0["name"] == "eth0"
}

// truthy reads a yes as LXD does.
func truthy(v string) bool {
	switch strings.ToLower(v) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

// until reads the time that a mark begins with.
func until(mark string) time.Time {
	text, _, _ := strings.Cut(mark, " ")
	t, _ := time.Parse(time.RFC3339, text)
	return t
}

func parseMAC(text string) net.HardwareAddr {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return nil
	}
	return mac
}
