package nacostest

import (
	"encoding/json"
	"time"
)

// The messages are written down from the classes of Nacos 2.5.1 (its packages
// api/remote and api/naming), not from a client's: names and types are those that
// Nacos reads and writes as JSON. Unknown members are passed over, as Nacos does.

// Instance is an instance as Nacos writes it.
type Instance struct {
	InstanceID  string            `json:"instanceId,omitempty"`
	IP          string            `json:"ip"`
	Port        int               `json:"port"`
	Weight      float64           `json:"weight"`
	Healthy     bool              `json:"healthy"`
	Enabled     bool              `json:"enabled"`
	Ephemeral   bool              `json:"ephemeral"`
	ClusterName string            `json:"clusterName,omitempty"`
	ServiceName string            `json:"serviceName,omitempty"` // group@@name
	Metadata    map[string]string `json:"metadata"`
	// The other fields that Nacos writes, in ms.
	HeartBeatInterval int    `json:"instanceHeartBeatInterval"`
	HeartBeatTimeOut  int    `json:"instanceHeartBeatTimeOut"`
	DeleteTimeout     int    `json:"ipDeleteTimeout"`
	IDGenerator       string `json:"instanceIdGenerator"`
}

// serviceInfo is a list of instances.
type serviceInfo struct {
	Name                     string     `json:"name"`
	GroupName                string     `json:"groupName"`
	Clusters                 string     `json:"clusters"`
	CacheMillis              int64      `json:"cacheMillis"`
	Hosts                    []Instance `json:"hosts"`
	LastRefTime              int64      `json:"lastRefTime"` // Unix time in ms
	Checksum                 string     `json:"checksum"`
	AllIPs                   bool       `json:"allIPs"`
	ReachProtectionThreshold bool       `json:"reachProtectionThreshold"`
	Valid                    bool       `json:"valid"`
}

// request has the fields of all requests that are answered here.
type request struct {
	RequestID   string            `json:"requestId"`
	Namespace   string            `json:"namespace"`
	ServiceName string            `json:"serviceName"`
	GroupName   string            `json:"groupName"`
	Type        string            `json:"type"`
	Instance    Instance          `json:"instance"`
	Instances   []Instance        `json:"instances"`
	Subscribe   bool              `json:"subscribe"`
	Clusters    string            `json:"clusters"`
	Cluster     string            `json:"cluster"`
	HealthyOnly bool              `json:"healthyOnly"`
	PageNo      int               `json:"pageNo"`
	PageSize    int               `json:"pageSize"`
	Labels      map[string]string `json:"labels"`
	Version     string            `json:"clientVersion"`
	Tenant      string            `json:"tenant"`
}

// response has the fields of all answers.
type response struct {
	ResultCode   int          `json:"resultCode"`
	ErrorCode    int          `json:"errorCode"`
	Message      string       `json:"message,omitempty"`
	RequestID    string       `json:"requestId,omitempty"`
	Success      bool         `json:"success"`
	ConnectionID string       `json:"connectionId,omitempty"`
	Abilities    *bool        `json:"supportAbilityNegotiation,omitempty"`
	Type         string       `json:"type,omitempty"`
	ServiceInfo  *serviceInfo `json:"serviceInfo,omitempty"`
	Count        *int         `json:"count,omitempty"`
	ServiceNames *[]string    `json:"serviceNames,omitempty"`
}

// notify is NotifySubscriberRequest, which asks for a NotifySubscriberResponse.
type notify struct {
	Headers     struct{}     `json:"headers"`
	RequestID   string       `json:"requestId"`
	Module      string       `json:"module"`
	ServiceInfo *serviceInfo `json:"serviceInfo"`
}

// reset is ConnectResetRequest, which asks for a ConnectResetResponse.
type reset struct {
	Headers   struct{} `json:"headers"`
	RequestID string   `json:"requestId"`
	Module    string   `json:"module"`
}

// Codes of Nacos: ResponseCode and NacosException.
const (
	resultOK          = 200
	resultFail        = 500
	codeInvalid       = 400
	codeNoRight       = 403
	codeUnregistered  = 301
	codeNoHandler     = 302
	codeDisconnected  = -401
	codeBadRequest    = 502
	defaultCluster    = "DEFAULT"
	cacheMillis       = 10_000
	moduleNaming      = "naming"
	moduleInternal    = "internal"
	typeNotify        = "NotifySubscriberRequest"
	typeNotifyAnswer  = "NotifySubscriberResponse"
	typeReset         = "ConnectResetRequest"
	typeResetAnswer   = "ConnectResetResponse"
	typeErrorResponse = "ErrorResponse"
)

func ok() *response { return &response{ResultCode: resultOK, Success: true} }

func failed(code int, message string) *response {
	return &response{ResultCode: resultFail, ErrorCode: code, Message: message}
}

// thrown returns the answer to an exception in a handler.
func thrown(code int, message string) *response {
	return &response{ResultCode: code, ErrorCode: code, Message: message}
}

// marshal cannot fail on the messages that are sent here.
func marshal(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body
}

func millis() int64 { return time.Now().UnixMilli() }
