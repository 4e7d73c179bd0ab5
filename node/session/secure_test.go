package session

import "testing"

func TestSuite(t *testing.T) {
	for name, want := range map[string][3]string{
		"TLS_AES_256_GCM_SHA384":                        {"any", "aes_256_gcm", "aead"},
		"TLS_CHACHA20_POLY1305_SHA256":                  {"any", "chacha20_poly1305", "aead"},
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":         {"ecdhe_rsa", "aes_128_gcm", "aead"},
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": {"ecdhe_ecdsa", "chacha20_poly1305", "aead"},
		"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA":            {"ecdhe_rsa", "aes_256_cbc", "sha"},
	} {
		exchange, cipher, hash := suite(name)
		if got := [3]string{exchange, cipher, hash}; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
