//go:build skerry

package main

import _ "github.com/skerryhq/skerry/contrib/gozero"
