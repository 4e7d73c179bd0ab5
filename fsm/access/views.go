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

// Unsorted returns all users and what they may do, in any order: there may be very many, and whoever asks can sort them while the
// machine goes on. The users' tags must not be changed.
func (s *State) Unsorted() (users []User, permissions []Permission, topics []TopicPermission) {
	users = make([]User, 0, len(s.users))
	permissions = make([]Permission, 0, len(s.users))
	for _, a := range s.users {
		users = append(users, a.User)
		for _, p := range a.permissions {
			permissions = append(permissions, p)
		}
		for _, p := range a.topics {
			topics = append(topics, p)
		}
	}
	return users, permissions, topics
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
