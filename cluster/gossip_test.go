package cluster

import (
	"maps"
	"testing"
)

func FuzzDecodeMeta(f *testing.F) {
	b, err := encodeMeta(entry{Cluster: "c", Addr: "a:1", Name: "n", Expect: 3, Tags: map[string]string{"http": "a:2"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{metaVersion, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := encodeMeta(e)
		if err != nil {
			return // longer than what is spread
		}
		got, err := decodeMeta(again)
		if err != nil || got.Cluster != e.Cluster || got.Addr != e.Addr || got.Name != e.Name || got.Expect != e.Expect || !maps.Equal(got.Tags, e.Tags) {
			t.Fatalf("%+v became %+v, %v", e, got, err)
		}
	})
}
