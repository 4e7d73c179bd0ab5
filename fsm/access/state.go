// Package access holds the users of a cluster and what they may do, and says which
// permissions a command needs. It is part of the replicated state machine: it
// keeps patterns as text and password hashes as they come. Whether a password is right,
// and whether a name matches a pattern, is for the nodes to find out.
package access

import (
	"cmp"
	"fmt"
	"slices"

	"warren/fsm/command"
)

// A User is somebody who may log in.
type User struct {
	Name string
	// ID tells a user from another one that had the name before.
	ID uint64
	// Hash is the password's, as the HTTP API shows it; empty: there is no password
	// and no login by one.
	Hash      string
	Algorithm string // that made the hash, by RabbitMQ's name
	Tags      []string
}

// A Permission is what a user may do in a vhost, by patterns of names.
type Permission struct {
	User, VHost            string
	Configure, Write, Read string
}

// A TopicPermission restricts the routing keys that a user may use with a topic exchange.
type TopicPermission struct {
	User, VHost, Exchange string
	Write, Read           string
}

// State is all users and their permissions. Make it with New.
type State struct {
	revision uint64 // of the last change; gives users their ids
	begun    bool   // AccessInit was applied
	users    map[string]*account
}

// An account is a user with the permissions by vhost, and by vhost and exchange.
type account struct {
	User
	permissions map[string]Permission
	topics      map[topic]TopicPermission
}

type topic struct{ vhost, exchange string }

// New returns a state without users.
func New() *State { return &State{users: make(map[string]*account)} }

// Begun reports whether AccessInit was applied: if not, a node is to propose it.
func (s *State) Begun() bool { return s.begun }

// Init carries out AccessInit. It reports whether it was the first.
func (s *State) Init(c *command.AccessInit) (first bool, err *command.Error) {
	switch {
	case s.begun:
		return false, nil
	case c.User == "":
		return false, errNoName
	}
	s.begun = true
	s.revision++
	if s.users[c.User] == nil {
		a := s.add(c.User)
		a.Hash, a.Algorithm, a.Tags = c.Hash, c.Algorithm, tagSet(c.Tags)
	}
	s.users[c.User].permissions[c.VHost] = Permission{User: c.User, VHost: c.VHost, Configure: ".*", Write: ".*", Read: ".*"}
	return true, nil
}

func (s *State) add(name string) *account {
	a := &account{
		User:        User{Name: name, ID: s.revision},
		permissions: make(map[string]Permission), topics: make(map[topic]TopicPermission),
	}
	s.users[name] = a
	return a
}

// tagSet drops what comes twice, and keeps the order.
func tagSet(tags []string) []string {
	var set []string
	for _, t := range tags {
		if t != "" && !slices.Contains(set, t) {
			set = append(set, t)
		}
	}
	return set
}

// AMQP reply codes of refusals.
const (
	accessRefused      = 403
	notFound           = 404
	preconditionFailed = 406
)

func refuse(code uint16, format string, args ...any) *command.Error {
	return &command.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

var errNoName = refuse(preconditionFailed, "the name of a user may not be empty")

func errNoUser(name string) *command.Error {
	return refuse(notFound, "user '%s' does not exist", name)
}

// Put carries out UserPut.
func (s *State) Put(c *command.UserPut) *command.Error {
	a := s.users[c.Name]
	switch {
	case a != nil && c.IfNew:
		return refuse(preconditionFailed, "user '%s' already exists", c.Name)
	case a == nil && c.IfKnown:
		return errNoUser(c.Name)
	case c.Name == "":
		return errNoName
	}
	s.revision++
	if a == nil {
		a = s.add(c.Name)
	}
	if c.SetPassword {
		a.Hash, a.Algorithm = c.Hash, c.Algorithm
	}
	if c.SetTags {
		a.Tags = tagSet(c.Tags)
	}
	return nil
}

// Delete carries out UserDelete.
func (s *State) Delete(name string) *command.Error {
	if s.users[name] == nil {
		return errNoUser(name)
	}
	s.revision++
	delete(s.users, name)
	return nil
}

// SetPermission carries out PermissionSet, for a vhost that is there.
func (s *State) SetPermission(c *command.PermissionSet) *command.Error {
	a := s.users[c.User]
	if a == nil {
		return errNoUser(c.User)
	}
	s.revision++
	a.permissions[c.VHost] = Permission(*c)
	return nil
}

// ClearPermission carries out PermissionClear.
func (s *State) ClearPermission(c *command.PermissionClear) *command.Error {
	a := s.users[c.User]
	if a == nil {
		return errNoUser(c.User)
	}
	s.revision++
	delete(a.permissions, c.VHost)
	return nil
}

// SetTopicPermission carries out TopicPermissionSet, for a vhost that is there.
func (s *State) SetTopicPermission(c *command.TopicPermissionSet) *command.Error {
	a := s.users[c.User]
	if a == nil {
		return errNoUser(c.User)
	}
	s.revision++
	a.topics[topic{c.VHost, c.Exchange}] = TopicPermission(*c)
	return nil
}

// ClearTopicPermission carries out TopicPermissionClear.
func (s *State) ClearTopicPermission(c *command.TopicPermissionClear) *command.Error {
	a := s.users[c.User]
	if a == nil {
		return errNoUser(c.User)
	}
	s.revision++
	for _, t := range a.sortedTopics() {
		if t.vhost == c.VHost && (c.All || t.exchange == c.Exchange) {
			delete(a.topics, t)
		}
	}
	return nil
}

// DeleteVHost drops all permissions in a vhost, which is gone. It reports whether there
// were any.
func (s *State) DeleteVHost(vhost string) bool {
	found := false
	for _, name := range s.names() {
		a := s.users[name]
		if _, ok := a.permissions[vhost]; ok {
			delete(a.permissions, vhost)
			found = true
		}
		for _, t := range a.sortedTopics() {
			if t.vhost == vhost {
				delete(a.topics, t)
				found = true
			}
		}
	}
	if found {
		s.revision++
	}
	return found
}

func (s *State) names() []string {
	names := make([]string, 0, len(s.users))
	for name := range s.users {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *account) vhosts() []string {
	names := make([]string, 0, len(a.permissions))
	for name := range a.permissions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *account) sortedTopics() []topic {
	all := make([]topic, 0, len(a.topics))
	for t := range a.topics {
		all = append(all, t)
	}
	slices.SortFunc(all, func(x, y topic) int {
		return cmp.Or(cmp.Compare(x.vhost, y.vhost), cmp.Compare(x.exchange, y.exchange))
	})
	return all
}
