package access

import "fmt"

// Empty reports whether nothing has ever happened.
func (s *State) Empty() bool { return s.revision == 0 && !s.begun && len(s.users) == 0 }

// Users returns all users, by name. Their tags must not be changed.
func (s *State) Users() []User {
	all := make([]User, 0, len(s.users))
	for _, name := range s.names() {
		all = append(all, s.users[name].User)
	}
	return all
}

// User returns one user. The tags must not be changed.
func (s *State) User(name string) (User, bool) {
	a := s.users[name]
	if a == nil {
		return User{}, false
	}
	return a.User, true
}

// Permission returns what a user may do in a vhost; false: not even enter it.
func (s *State) Permission(user, vhost string) (Permission, bool) {
	a := s.users[user]
	if a == nil {
		return Permission{}, false
	}
	p, ok := a.permissions[vhost]
	return p, ok
}

// Permissions returns all permissions, by user and vhost.
func (s *State) Permissions() []Permission {
	var all []Permission
	for _, name := range s.names() {
		all = append(all, s.UserPermissions(name)...)
	}
	return all
}

// UserPermissions returns the permissions of a user, by vhost.
func (s *State) UserPermissions(user string) []Permission {
	a := s.users[user]
	if a == nil {
		return nil
	}
	all := make([]Permission, 0, len(a.permissions))
	for _, vhost := range a.vhosts() {
		all = append(all, a.permissions[vhost])
	}
	return all
}

// TopicPermissions returns all topic permissions, by user, vhost and exchange.
func (s *State) TopicPermissions() []TopicPermission {
	var all []TopicPermission
	for _, name := range s.names() {
		all = append(all, s.UserTopicPermissions(name)...)
	}
	return all
}

// UserTopicPermissions returns the topic permissions of a user, by vhost and exchange.
func (s *State) UserTopicPermissions(user string) []TopicPermission {
	a := s.users[user]
	if a == nil {
		return nil
	}
	all := make([]TopicPermission, 0, len(a.topics))
	for _, t := range a.sortedTopics() {
		all = append(all, a.topics[t])
	}
	return all
}

// Check returns what is wrong with the state, if anything is. vhost tells which vhosts
// there are.
func (s *State) Check(vhost func(string) bool) error {
	ids := make(map[uint64]string)
	for _, name := range s.names() {
		a := s.users[name]
		switch {
		case name == "" || a.Name != name:
			return fmt.Errorf("user %q stands under the name %q", a.Name, name)
		case a.ID == 0 || a.ID > s.revision || ids[a.ID] != "":
			return fmt.Errorf("user %q has the id %d of %d, as %q", name, a.ID, s.revision, ids[a.ID])
		}
		ids[a.ID] = name
		for _, v := range a.vhosts() {
			if p := a.permissions[v]; p.User != name || p.VHost != v || !vhost(v) {
				return fmt.Errorf("user %q has permissions %+v in vhost %q", name, p, v)
			}
		}
		for _, t := range a.sortedTopics() {
			if p := a.topics[t]; p.User != name || p.VHost != t.vhost || p.Exchange != t.exchange || !vhost(t.vhost) {
				return fmt.Errorf("user %q has topic permissions %+v in vhost %q", name, p, t.vhost)
			}
		}
	}
	return nil
}
