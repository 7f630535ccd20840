// SPDX-License-Identifier: Apache-2.0
//
// The same from C++: two small owners make windows exception-safe.
//
//	c++ window.cpp $(pkg-config --cflags --libs libergon) -o window && ./window [ROOT]
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include <ergon/ergon.h>

namespace
{

struct Close {
	void operator()(ergon_context *c) const { ergon_close(c); }
	void operator()(ergon_result *r) const { ergon_result_free(r); }
};
using Context = std::unique_ptr<ergon_context, Close>;
using Result = std::unique_ptr<ergon_result, Close>;

int checked(int r)
{
	if (r < 0)
		throw std::runtime_error(ergon_error_text(r));
	return r;
}

class Window {
public:
	Window(ergon_context *ctx, std::string name) : ctx_(ctx), name_(std::move(name))
	{
		checked(ergon_window_begin(ctx_, name_.c_str(), nullptr));
	}
	Window(const Window &) = delete;
	Window &operator=(const Window &) = delete;
	~Window() { ergon_window_cancel(ctx_, name_.c_str()); } // after end(): no such window

	Result end()
	{
		ergon_result *r = nullptr;

		checked(ergon_window_end(ctx_, name_.c_str(), &r));
		return Result(r);
	}

private:
	ergon_context *ctx_;
	std::string name_;
};

} // namespace

int main(int argc, char **argv)
try {
	ergon_options options = ERGON_OPTIONS_INIT;
	ergon_context *opened = nullptr;

	options.root = argc > 1 ? argv[1] : nullptr;
	checked(ergon_open(&options, &opened));
	Context ctx(opened);
	Window window(ctx.get(), "loop");
	volatile double x = 1;
	for (int i = 0; i < 20000000; i++)
		x = x * 1.0000001;
	Result result = window.end();
	if (ergon_result_has_total(result.get()))
		std::printf("%.6f J (%s)\n",
			    static_cast<double>(ergon_result_get_total_uj(result.get())) / 1e6,
			    ergon_result_get_total_provenance(result.get()));
	else
		std::printf("nothing here can be measured\n");
	return 0;
} catch (const std::exception &e) {
	std::fprintf(stderr, "window: %s\n", e.what());
	return 1;
}
