package main

import (
	"reflect"

	"warren/node"
)

// missingFields names the fields of a configuration that are zero. Lists that
// are empty but not nil count as set.
func missingFields(cfg node.Config) []string {
	var missing []string
	v := reflect.ValueOf(cfg)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			missing = append(missing, v.Type().Field(i).Name)
		}
	}
	return missing
}
