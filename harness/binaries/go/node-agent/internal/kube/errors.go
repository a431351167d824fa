package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Failure is an answer of the API server other than success.
type Failure struct {
	Code    int // HTTP status
	Reason  metav1.StatusReason
	Message string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("API server: %d %s: %s", f.Code, f.Reason, f.Message)
}

// IsNotFound tells that neither the object nor, for a custom resource, perhaps its kind exists.
func IsNotFound(err error) bool { return hasCode(err, http.StatusNotFound) }

// IsConflict tells that a resourceVersion or uid given as a precondition is not the object's.
func IsConflict(err error) bool { return hasReason(err, metav1.StatusReasonConflict) }

// IsAlreadyExists tells that an object of this name exists.
func IsAlreadyExists(err error) bool { return hasReason(err, metav1.StatusReasonAlreadyExists) }

// IsRefused tells that the same request will never succeed: the server answered, and not with a state that passes
// (starting up, overload, no access yet, a namespace that is still to come).
func IsRefused(err error) bool {
	var failure *Failure
	if !errors.As(err, &failure) {
		return false
	}
	switch failure.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return failure.Code >= 400 && failure.Code < 500
}

func hasCode(err error, code int) bool {
	var failure *Failure
	return errors.As(err, &failure) && failure.Code == code
}

func hasReason(err error, reason metav1.StatusReason) bool {
	var failure *Failure
	return errors.As(err, &failure) && failure.Reason == reason
}

// readFailure makes a Failure of an error answer; its body is a metav1.Status, or plain text from a server that
// is not ready yet.
func readFailure(response *http.Response) error {
	const enough = 64 << 10
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	if err != nil {
		return err
	}
	failure := &Failure{Code: response.StatusCode, Message: string(body)}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		failure.Reason, failure.Message = status.Reason, status.Message
	}
	return failure
}
