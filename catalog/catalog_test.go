package catalog_test

import (
	"testing"

	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/catalog/catalogtest"
)

func TestCatalog(t *testing.T) {
	catalogtest.RunTable(t, func(_ *testing.T, cfg catalog.Config) catalogtest.Catalog { return catalog.New(cfg) })
}
