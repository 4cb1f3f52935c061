package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/tools/record"
	toolswatch "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
)

type traveller struct {
	config    *rest.Config
	client    *kubernetes.Clientset
	namespace string
}

var services = schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}

func tour(kubeconfig, namespace string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 500
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	t := &traveller{config, client, namespace}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"typed objects", t.typed}, {"patches", t.patches}, {"apply", t.apply}, {"conflicts and preconditions", t.conflicts},
		{"informers", t.informers}, {"custom informers", t.customInformers}, {"until with sync", t.untilWithSync},
		{"leader election", t.leaderElection}, {"discovery", t.discovery}, {"dynamic client", t.dynamic},
		{"metadata client", t.metadata}, {"events", t.events}, {"pager", t.pager}, {"reviews and tokens", t.reviews},
		{"delete collection", t.deleteCollection}, {"expired watch", t.expiredWatch},
	}
	for _, step := range steps {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		err := step.do(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Println("ok", step.name)
	}
	return nil
}

func expect(condition bool, format string, arguments ...any) error {
	if condition {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}},
			},
		},
	}
}

func (t *traveller) maps() typedcore.ConfigMapInterface {
	return t.client.CoreV1().ConfigMaps(t.namespace)
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": "b"}}
}

// Since client-go 0.32 these bodies are protobuf.
func (t *traveller) typed(ctx context.Context) error {
	made, err := t.maps().Create(ctx, configMap("typed"), metav1.CreateOptions{FieldManager: "tour"})
	if err != nil {
		return err
	}
	if err := expect(made.UID != "" && made.Data["a"] == "b" && made.ManagedFields[0].Manager == "tour", "%v", made); err != nil {
		return err
	}
	if _, err := t.maps().Create(ctx, configMap("typed"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("not AlreadyExists: %v", err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"k": "v"}, Data: map[string][]byte{"b": {0, 255}}}
	stored, err := t.client.CoreV1().Secrets(t.namespace).Create(ctx, secret, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if string(stored.Data["k"]) != "v" || len(stored.Data["b"]) != 2 || stored.Type != corev1.SecretTypeOpaque {
		return fmt.Errorf("secret %v", stored)
	}
	zero, err := t.client.AppsV1().Deployments(t.namespace).Create(ctx, deployment("zero", 0), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if *zero.Spec.Replicas != 0 {
		return fmt.Errorf("replicas of zero became %d", *zero.Spec.Replicas)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: deployment("x", 1).Spec.Template.Spec}
	running, err := t.client.CoreV1().Pods(t.namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil || !strings.HasPrefix(running.Name, "p-") {
		return fmt.Errorf("dry run: %v %v", running, err)
	}
	_, err = t.maps().Get(ctx, "nobody", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("not NotFound: %v", err)
	}
	invalid := deployment("invalid", 1)
	invalid.Spec.Template.Labels = nil
	_, err = t.client.AppsV1().Deployments(t.namespace).Create(ctx, invalid, metav1.CreateOptions{})
	return expect(apierrors.IsInvalid(err), "not Invalid: %v", err)
}

func (t *traveller) patches(ctx context.Context) error {
	deployments := t.client.AppsV1().Deployments(t.namespace)
	if _, err := deployments.Create(ctx, deployment("patched", 0), metav1.CreateOptions{}); err != nil {
		return err
	}
	for kind, patch := range map[types.PatchType]string{
		types.JSONPatchType:           `[{"op":"add","path":"/metadata/labels","value":{"json":"1"}}]`,
		types.MergePatchType:          `{"spec":{"revisionHistoryLimit":3}}`,
		types.StrategicMergePatchType: `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s"}]}}}}`,
	} {
		if _, err := deployments.Patch(ctx, "patched", kind, []byte(patch), metav1.PatchOptions{FieldManager: "tour"}); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	found, err := deployments.Get(ctx, "patched", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if *found.Spec.RevisionHistoryLimit != 3 || len(found.Spec.Template.Spec.Containers) != 2 {
		return fmt.Errorf("%v", found.Spec)
	}
	scale, err := deployments.GetScale(ctx, "patched", metav1.GetOptions{})
	if err != nil {
		return err
	}
	scale.Spec.Replicas = 2
	if scale, err = deployments.UpdateScale(ctx, "patched", scale, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return expect(scale.Spec.Replicas == 2, "%v", scale)
}

func (t *traveller) apply(ctx context.Context) error {
	wanted := applycore.ConfigMap("applied", t.namespace).WithData(map[string]string{"x": "1", "y": "1"})
	first, err := t.maps().Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	again, err := t.maps().Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil || again.ResourceVersion != first.ResourceVersion {
		return fmt.Errorf("the same again: %v %v", again, err)
	}
	other := applycore.ConfigMap("applied", t.namespace).WithData(map[string]string{"x": "2"})
	_, err = t.maps().Apply(ctx, other, metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("not Conflict: %v", err)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details.Causes[0].Type != metav1.CauseTypeFieldManagerConflict {
		return fmt.Errorf("no cause: %v", err)
	}
	forced, err := t.maps().Apply(ctx, other, metav1.ApplyOptions{FieldManager: "two", Force: true})
	if err != nil || forced.Data["x"] != "2" || forced.Data["y"] != "1" {
		return fmt.Errorf("forced: %v %v", forced, err)
	}
	taken, err := applycore.ExtractConfigMap(forced, "one")
	if err != nil {
		return err
	}
	return expect(len(taken.Data) == 1 && taken.Data["y"] == "1", "extracted: %v", taken.Data)
}

func (t *traveller) conflicts(ctx context.Context) error {
	made, err := t.maps().Create(ctx, configMap("conflict"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	stale := made.DeepCopy()
	made.Data["n"] = "1"
	if _, err := t.maps().Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if _, err := t.maps().Update(ctx, stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		return fmt.Errorf("not Conflict: %v", err)
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		fresh, err := t.maps().Get(ctx, "conflict", metav1.GetOptions{})
		if err != nil {
			return err
		}
		fresh.Data["n"] = "2"
		_, err = t.maps().Update(ctx, fresh, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	wrong := types.UID("somebody-else")
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}}
	if err := t.maps().Delete(ctx, "conflict", options); !apierrors.IsConflict(err) {
		return fmt.Errorf("uid: not Conflict: %v", err)
	}
	options = metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &stale.ResourceVersion}}
	if err := t.maps().Delete(ctx, "conflict", options); !apierrors.IsConflict(err) {
		return fmt.Errorf("version: not Conflict: %v", err)
	}
	options = metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &stale.UID}}
	return t.maps().Delete(ctx, "conflict", options)
}

// Informers of client-go 0.35 use WatchList: they never sync without the annotated bookmark.
func (t *traveller) informers(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(t.client, 0, informers.WithNamespace(t.namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	pods := factory.Core().V1().Pods().Informer()
	var added, updated, deleted atomic.Int32
	seen := func(object any, counter *atomic.Int32) {
		if meta, ok := object.(metav1.Object); ok && meta.GetName() == "informed" {
			counter.Add(1)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { seen(object, &added) },
		UpdateFunc: func(_, object any) { seen(object, &updated) },
		DeleteFunc: func(object any) { seen(object, &deleted) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced, pods.HasSynced) {
		return errors.New("never synced")
	}
	made, err := t.maps().Create(ctx, configMap("informed"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Data["n"] = "1"
	if _, err := t.maps().Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := t.maps().Delete(ctx, "informed", metav1.DeleteOptions{}); err != nil {
		return err
	}
	for deleted.Load() == 0 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	return expect(added.Load() == 1 && updated.Load() == 1 && deleted.Load() == 1,
		"added %d updated %d deleted %d", added.Load(), updated.Load(), deleted.Load())
}

func service(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"image": "hello"}}}}},
	}}
}

func (t *traveller) customInformers(ctx context.Context) error {
	client, err := dynamic.NewForConfig(t.config)
	if err != nil {
		return err
	}
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, t.namespace, nil)
	informer := factory.ForResource(services).Informer()
	ready := make(chan struct{}, 16)
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(_, object any) {
		conditions, _, _ := unstructured.NestedSlice(object.(*unstructured.Unstructured).Object, "status", "conditions")
		for _, each := range conditions {
			condition := each.(map[string]any)
			if condition["type"] == "Ready" && condition["status"] == "True" {
				select {
				case ready <- struct{}{}:
				default:
				}
			}
		}
	}})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("never synced")
	}
	if _, err := client.Resource(services).Namespace(t.namespace).Create(ctx, service("informed"), metav1.CreateOptions{}); err != nil {
		return err
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return errors.New("never ready")
	}
	foreground := metav1.DeletePropagationForeground
	return client.Resource(services).Namespace(t.namespace).Delete(ctx, "informed", metav1.DeleteOptions{PropagationPolicy: &foreground})
}

func (t *traveller) untilWithSync(ctx context.Context) error {
	deployments := t.client.AppsV1().Deployments(t.namespace)
	if _, err := deployments.Create(ctx, deployment("awaited", 2), metav1.CreateOptions{}); err != nil {
		return err
	}
	list := cache.NewListWatchFromClient(t.client.AppsV1().RESTClient(), "deployments", t.namespace, fields.OneTermEqualSelector("metadata.name", "awaited"))
	_, err := toolswatch.UntilWithSync(ctx, list, &appsv1.Deployment{}, nil, func(event watch.Event) (bool, error) {
		found, ok := event.Object.(*appsv1.Deployment)
		return ok && found.Status.AvailableReplicas == 2 && found.Status.ObservedGeneration == found.Generation, nil
	})
	return err
}

func (t *traveller) leaderElection(ctx context.Context) error {
	var leading atomic.Int32
	var led atomic.Int32
	candidate := func(identity string, done context.Context) {
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, t.namespace, "leader",
			t.client.CoreV1(), t.client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity})
		if err != nil {
			return
		}
		leaderelection.RunOrDie(done, leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(inner context.Context) { leading.Add(1); led.Add(1); <-inner.Done(); leading.Add(-1) },
				OnStoppedLeading: func() {},
			},
		})
	}
	first, stopFirst := context.WithCancel(ctx)
	second, stopSecond := context.WithCancel(ctx)
	defer stopSecond()
	go candidate("first", first)
	for led.Load() < 1 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	go candidate("second", second)
	time.Sleep(500 * time.Millisecond)
	if leading.Load() != 1 {
		stopFirst()
		return fmt.Errorf("%d leaders", leading.Load())
	}
	stopFirst()
	for led.Load() < 2 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	lease, err := t.client.CoordinationV1().Leases(t.namespace).Get(ctx, "leader", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect(*lease.Spec.HolderIdentity == "second" && lease.Spec.RenewTime != nil, "%v", lease.Spec)
}

func (t *traveller) discovery(ctx context.Context) error {
	client, err := discovery.NewDiscoveryClientForConfig(t.config)
	if err != nil {
		return err
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	count := 0
	for _, list := range lists {
		count += len(list.APIResources)
	}
	preferred, err := client.ServerPreferredResources()
	if err != nil || count < 20 || len(preferred) < 5 {
		return fmt.Errorf("%d resources, %d groups, %v", count, len(preferred), err)
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return err
	}
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(schema.GroupKind{Group: "serving.knative.dev", Kind: "Service"})
	if err != nil || mapping.Resource != services {
		return fmt.Errorf("%v %v", mapping, err)
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	for name, path := range paths {
		if _, err := path.Schema("application/json"); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	version, err := client.ServerVersion()
	if err != nil {
		return err
	}
	return expect(version.Minor == "34", "%v", version)
}

func (t *traveller) dynamic(ctx context.Context) error {
	client, err := dynamic.NewForConfig(t.config)
	if err != nil {
		return err
	}
	all := client.Resource(services).Namespace(t.namespace)
	made, err := all.Create(ctx, service("dynamic"), metav1.CreateOptions{FieldValidation: "Strict"})
	if err != nil {
		return err
	}
	wrong := service("wrong")
	wrong.Object["spec"].(map[string]any)["bogus"] = int64(1)
	if _, err := all.Create(ctx, wrong, metav1.CreateOptions{FieldValidation: "Strict"}); !apierrors.IsBadRequest(err) {
		return fmt.Errorf("not strict: %v", err)
	}
	unstructured.RemoveNestedField(made.Object, "metadata", "resourceVersion")
	if _, err := all.Update(ctx, made, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		return fmt.Errorf("an update without a version: %v", err)
	}
	_, err = all.Patch(ctx, "dynamic", types.StrategicMergePatchType, []byte(`{}`), metav1.PatchOptions{})
	if !apierrors.IsUnsupportedMediaType(err) {
		return fmt.Errorf("a strategic patch: %v", err)
	}
	applied, err := all.Apply(ctx, "dynamic", service("dynamic"), metav1.ApplyOptions{FieldManager: "dynamic", Force: true})
	if err != nil {
		return err
	}
	list, err := all.List(ctx, metav1.ListOptions{})
	if err != nil || list.GetKind() != "ServiceList" || len(list.Items) == 0 || list.Items[0].GetKind() != "Service" {
		return fmt.Errorf("%v %v", list, err)
	}
	unknown := client.Resource(schema.GroupVersionResource{Group: "nobody.dev", Version: "v1", Resource: "things"})
	_, err = unknown.List(ctx, metav1.ListOptions{})
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details.Causes[0].Message != "404 page not found" {
		return fmt.Errorf("an unknown group: %v", err)
	}
	return expect(applied.GetGeneration() == 1, "generation %d", applied.GetGeneration())
}

func (t *traveller) metadata(ctx context.Context) error {
	client, err := metadata.NewForConfig(t.config)
	if err != nil {
		return err
	}
	maps := client.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(t.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 || list.ResourceVersion == "" {
		return fmt.Errorf("%v %v", list, err)
	}
	one, err := maps.Get(ctx, "typed", metav1.GetOptions{})
	if err != nil {
		return err
	}
	stream, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return err
	}
	defer stream.Stop()
	if _, err := maps.Patch(ctx, "typed", types.MergePatchType, []byte(`{"metadata":{"labels":{"m":"1"}}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	event := <-stream.ResultChan()
	changed, ok := event.Object.(*metav1.PartialObjectMetadata)
	return expect(ok && changed.Labels["m"] == "1" && one.UID == changed.UID, "%v", event)
}

func (t *traveller) events(ctx context.Context) error {
	about, err := t.maps().Get(ctx, "typed", metav1.GetOptions{})
	if err != nil {
		return err
	}
	about.APIVersion, about.Kind = "v1", "ConfigMap"
	old := record.NewBroadcaster()
	old.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: t.client.CoreV1().Events("")})
	defer old.Shutdown()
	recorder := old.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "tour"})
	for range 3 {
		recorder.Event(about, corev1.EventTypeNormal, "Toured", "the same again")
	}
	fresh := events.NewBroadcaster(&events.EventSinkImpl{Interface: t.client.EventsV1()})
	if err := fresh.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	defer fresh.Shutdown()
	fresh.NewRecorder(scheme.Scheme, "tour").Eventf(about, nil, corev1.EventTypeNormal, "Travelled", "Walking", "by %s", "foot")
	for ctx.Err() == nil {
		list, err := t.client.CoreV1().Events(t.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=typed"})
		if err != nil {
			return err
		}
		count, travelled := int32(0), false
		for _, item := range list.Items {
			if item.Reason == "Toured" {
				count = item.Count
			}
			travelled = travelled || (item.Reason == "Travelled" && item.Action == "Walking" && item.Message == "by foot")
		}
		if count == 3 && travelled {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the events did not arrive")
}

func (t *traveller) pager(ctx context.Context) error {
	for number := range 12 {
		name := fmt.Sprintf("page-%02d", number)
		if _, err := t.maps().Create(ctx, configMap(name), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	pages := 0
	lister := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		pages++
		return t.maps().List(ctx, options)
	})
	lister.PageSize = 5
	seen := map[string]bool{}
	err := lister.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		seen[object.(*corev1.ConfigMap).Name] = true
		return nil
	})
	if err != nil {
		return err
	}
	return expect(pages >= 3 && seen["page-00"] && seen["page-11"], "%d pages of %d", pages, len(seen))
}

func (t *traveller) reviews(ctx context.Context) error {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: t.namespace, Verb: "get", Resource: "pods"}}}
	answer, err := t.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil || !answer.Status.Allowed {
		return fmt.Errorf("%v %v", answer, err)
	}
	self, err := t.client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || self.Status.UserInfo.Username == "" {
		return fmt.Errorf("%v %v", self, err)
	}
	seconds := int64(600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := t.client.CoreV1().ServiceAccounts(t.namespace).CreateToken(ctx, "default", request, metav1.CreateOptions{})
	if err != nil || token.Status.Token == "" {
		return fmt.Errorf("%v %v", token, err)
	}
	config := rest.AnonymousClientConfig(t.config)
	config.BearerToken = token.Status.Token
	account, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	self, err = account.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || self.Status.UserInfo.Username != "system:serviceaccount:"+t.namespace+":default" {
		return fmt.Errorf("%v %v", self, err)
	}
	_, err = account.CoreV1().Secrets(t.namespace).List(ctx, metav1.ListOptions{})
	return expect(apierrors.IsForbidden(err), "not Forbidden: %v", err)
}

func (t *traveller) deleteCollection(ctx context.Context) error {
	if err := t.maps().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=page-00"}); err != nil {
		return err
	}
	list, err := t.maps().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, item := range list.Items {
		if item.Name == "page-00" {
			return errors.New("it is still there")
		}
	}
	return expect(len(list.Items) > 10, "%d are left", len(list.Items))
}

func (t *traveller) expiredWatch(ctx context.Context) error {
	_, err := t.maps().List(ctx, metav1.ListOptions{ResourceVersion: "999999999999", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	return expect(apierrors.IsTimeout(err) && apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge), "%v", err)
}
