// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// Certificates under K3s's names: authorities that all servers share, and what each node has signed by them.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	tlsDir  = data + "/server/tls"
	etcdDir = tlsDir + "/etcd"
	year    = 365 * 24 * time.Hour
)

// shared are the files that every server of a cluster has in common, below tlsDir.
var authorities = []string{"server-ca", "client-ca", "etcd/server-ca", "etcd/peer-ca"}

func sharedFiles() []string {
	files := []string{"service.key"}
	for _, name := range authorities {
		files = append(files, name+".crt", name+".key")
	}
	return files
}

func newKey(path string) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fail(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		fail(err)
	}
	write(path, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), 0o600)
	return key
}

func readPEM(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		fail(fmt.Errorf("%s holds no PEM", path))
	}
	return block.Bytes
}

func certify(path string, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		fail(err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(10*year)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		fail(err)
	}
	write(path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
}

// makeShared makes the authorities of a new cluster.
func makeShared() {
	for _, name := range authorities {
		key := newKey(filepath.Join(tlsDir, name+".key"))
		common := fmt.Sprintf("k3s-%s@%d", filepath.Base(name), time.Now().Unix())
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: common}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		certify(filepath.Join(tlsDir, name+".crt"), template, template, key.Public(), key)
	}
	newKey(filepath.Join(tlsDir, "service.key"))
}

// sign writes path.crt and path.key, signed by one of the authorities.
func sign(path, authority, common, group string, hosts ...string) {
	parent, err := x509.ParseCertificate(readPEM(filepath.Join(tlsDir, authority+".crt")))
	if err != nil {
		fail(err)
	}
	signer, err := x509.ParseECPrivateKey(readPEM(filepath.Join(tlsDir, authority+".key")))
	if err != nil {
		fail(err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: common},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certify(path+".crt", template, parent, newKey(path+".key").Public(), signer)
}

// kubeconfigFor is a kubeconfig with everything inline.
func kubeconfigFor(server, ca, certificate, key string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: default
  cluster: {server: "%s", certificate-authority: "%s"}
users:
- name: default
  user: {client-certificate: "%s", client-key: "%s"}
contexts:
- name: default
  context: {cluster: default, user: default}
current-context: default
`, server, ca, certificate, key)
}
