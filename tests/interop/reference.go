// The other side of test_go.py: the reference implementation of signed notes and RFC 6962 proofs.
//
//	reference open VKEY < note                    the note's text, if the key signed it
//	reference sign NAME < text                    a fresh key's vkey, and the text signed with it
//	reference record VKEY PAYLOAD < tlog-proof    whether the payload is the proof's record under a signed tree
package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = run(os.Args[1], os.Args[2:], input)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command string, arguments []string, input []byte) error {
	switch command {
	case "open":
		text, err := open(arguments[0], input)
		fmt.Print(text)
		return err
	case "sign":
		return sign(arguments[0], string(input))
	case "record":
		return record(arguments[0], arguments[1], string(input))
	}
	return errors.New("unknown command")
}

func open(vkey string, signed []byte) (string, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	return opened.Text, nil
}

func sign(name, text string) error {
	private, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s", vkey, signed)
	return nil
}

func record(vkey, payload, proof string) error {
	head, signed, found := strings.Cut(proof, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	text, err := open(vkey, []byte(signed))
	if err != nil {
		return err
	}
	tree := strings.Split(text, "\n")
	size, err := strconv.ParseInt(tree[1], 10, 64)
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(tree[2])
	if err != nil {
		return err
	}
	var root tlog.Hash
	copy(root[:], raw)
	return tlog.CheckRecord(path, size, root, index, tlog.RecordHash([]byte(payload)))
}
