package connectivity

import (
	"context"
	"errors"
	"sync"

	"github.com/lanyard-project/lanyard/webspace"
)

// Clean removes the temporary webspaces and the image of all runs, and says what would not go. A run that is going on
// elsewhere in the cluster fails by that.
func Clean(ctx context.Context, lxd LXD) (left []string) {
	left = remove(ctx, lxd, func(webspace.Instance) bool { return true })
	image, err := imageOf(running)
	if err != nil {
		return append(left, err.Error())
	}
	return append(left, removeImage(ctx, lxd, fingerprintOf(image))...)
}

// cleanup removes what this run made. LXD may still be at work on something that we no longer wait for, so it looks twice.
func (r *runner) cleanup(ctx context.Context) (left []string) {
	own := func(i webspace.Instance) bool {
		return r.base != 0 && i.UID >= r.base && i.UID < r.base+len(r.spaces)
	}
	if left = remove(ctx, r.lxd, own); len(left) > 0 {
		left = remove(ctx, r.lxd, own)
	}
	if r.image != "" {
		left = append(left, removeImage(ctx, r.lxd, r.image)...)
	}
	return left
}

func removeImage(ctx context.Context, lxd LXD, fingerprint string) []string {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	if err := lxd.DeleteImage(ctx, fingerprint); err != nil {
		return []string{"image " + fingerprint[:12] + ": " + err.Error()}
	}
	return nil
}

// remove deletes the temporary webspaces that match. Both the purpose and the range of uids must say that it is one.
func remove(ctx context.Context, lxd LXD, match func(webspace.Instance) bool) (left []string) {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	list, err := lxd.List(ctx)
	if err != nil {
		return []string{"LXD cannot be asked: " + err.Error()}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, 2)
	for _, i := range list {
		if i.Purpose != purpose || i.UID < firstUID || i.UID > lastUID || !match(i) {
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := lxd.Delete(ctx, i.Name); err != nil && !errors.Is(err, webspace.ErrNotFound) {
				mu.Lock()
				left = append(left, i.Name+": "+err.Error())
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return left
}
