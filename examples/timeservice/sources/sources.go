// Package sources imports the sources that the samples can use by a URL. A program of
// yours imports those that it needs, and nothing else is linked.
package sources

import (
	_ "github.com/skerryhq/skerry/client/consul"     // skerry:// and consul://
	_ "github.com/skerryhq/skerry/client/dns"        // dns://
	_ "github.com/skerryhq/skerry/client/etcd"       // etcd://
	_ "github.com/skerryhq/skerry/client/kubernetes" // k8s://
	_ "github.com/skerryhq/skerry/client/union"      // union://
	_ "github.com/skerryhq/skerry/client/zookeeper"  // zookeeper://
)
