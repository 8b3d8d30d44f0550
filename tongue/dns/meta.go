package dns

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// verbatim marks metadata whose value alone is the text of its TXT record.
const verbatim = "rfc1035-"

// rfc1464 quotes a key like an attribute name of RFC 1464.
var rfc1464 = strings.NewReplacer("`", "``", "=", "`=")

// metaTexts renders metadata as "key=value", ordered by key.
func metaTexts(meta map[string]string) []string {
	out := make([]string, 0, len(meta))
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		if strings.HasPrefix(strings.ToLower(k), verbatim) {
			out = append(out, meta[k])
		} else {
			out = append(out, rfc1464.Replace(k)+"="+meta[k])
		}
	}
	return out
}

// chunks cuts a text into the strings of a TXT record, 255 bytes at most.
func chunks(text string) []string {
	var out []string
	for len(text) > 255 {
		out = append(out, text[:255])
		text = text[255:]
	}
	return append(out, text)
}

// metaData packs the data of one TXT record, or nil if it is too long for one.
func metaData(text string) []byte {
	var data []byte
	for _, c := range chunks(text) {
		data = append(append(data, byte(len(c))), c...)
	}
	if len(data) > math.MaxUint16/2 {
		return nil
	}
	return data
}

// appendMeta packs metadata as TXT records without owners.
func appendMeta(b []byte, meta map[string]string, ttl uint32) []byte {
	for _, text := range metaTexts(meta) {
		if data := metaData(text); data != nil {
			b = appendRecord(b, dns.TypeTXT, ttl, data)
		}
	}
	return b
}

// metaRecords is appendMeta for answers that are made record by record.
func metaRecords(owner string, meta map[string]string, ttl uint32) []dns.RR {
	var out []dns.RR
	for _, text := range metaTexts(meta) {
		if metaData(text) == nil {
			continue
		}
		txt := &dns.TXT{Hdr: header(owner, dns.TypeTXT, ttl)}
		for _, c := range chunks(text) {
			txt.Txt = append(txt.Txt, escapeText(c))
		}
		out = append(out, txt)
	}
	return out
}

// escapeText escapes the special characters of the library's form of TXT strings.
func escapeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

func header(owner string, typ uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: typ, Class: dns.ClassINET, Ttl: ttl}
}
